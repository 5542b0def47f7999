// client-go as a test client: does one thing with the things of a namespace, and says as lines of JSON what it sends and what it sees.
//
//	client-go KUBECONFIG NAMESPACE informer        a shared informer, until it is killed
//	client-go KUBECONFIG NAMESPACE pages           a list in pages of two; after the first it waits for a line on standard input
//	client-go KUBECONFIG NAMESPACE create NAME     one thing
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/pager"
)

var resource = schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "things"}

var output sync.Mutex

// say prints a line about something: a name, a number, a request.
func say(did string, what any) {
	output.Lock()
	defer output.Unlock()
	line, _ := json.Marshal(map[string]any{"did": did, "what": what})
	fmt.Println(string(line))
}

func must(err error) {
	if err != nil {
		say("failed", err.Error())
		os.Exit(1)
	}
}

// told says of every request how it was answered.
type told struct{ inner http.RoundTripper }

func (t told) RoundTrip(request *http.Request) (*http.Response, error) {
	answer, err := t.inner.RoundTrip(request)
	status := 0
	if err == nil {
		status = answer.StatusCode
	}
	kind := request.Method
	if request.URL.Query().Get("watch") != "" {
		kind = "WATCH"
	}
	say("sent", fmt.Sprintf("%s %d %s", kind, status, request.URL.RawQuery))
	return answer, err
}

func main() {
	config, err := clientcmd.BuildConfigFromFlags("", os.Args[1])
	must(err)
	config.Wrap(func(inner http.RoundTripper) http.RoundTripper { return told{inner} })
	client, err := dynamic.NewForConfig(config)
	must(err)
	namespace := os.Args[2]
	things := client.Resource(resource).Namespace(namespace)
	switch os.Args[3] {
	case "informer":
		inform(client, namespace)
	case "pages":
		read(things)
	case "create":
		thing := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "example.com/v1", "kind": "Thing", "metadata": map[string]any{"name": os.Args[4]},
		}}
		_, err := things.Create(context.Background(), thing, metav1.CreateOptions{})
		must(err)
		say("created", os.Args[4])
	}
}

func inform(client dynamic.Interface, namespace string) {
	factory := dynamicinformer.NewFilteredDynamicSharedInformerFactory(client, 0, namespace, nil)
	informer := factory.ForResource(resource).Informer()
	name := func(object any) string {
		key, _ := cache.DeletionHandlingMetaNamespaceKeyFunc(object)
		return key
	}
	must(informer.SetWatchErrorHandler(func(_ *cache.Reflector, err error) { say("broke off", err.Error()) }))
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { say("added", name(object)) },
		UpdateFunc: func(_, object any) { say("updated", name(object)) },
		DeleteFunc: func(object any) { say("deleted", name(object)) },
	})
	must(err)
	ctx := context.Background()
	factory.Start(ctx.Done())
	cache.WaitForCacheSync(ctx.Done(), informer.HasSynced)
	say("synced", len(informer.GetStore().ListKeys()))
	<-ctx.Done()
}

func read(things dynamic.ResourceInterface) {
	input, page := bufio.NewReader(os.Stdin), 0
	pages := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		page++
		if page == 2 {
			say("waits", page)
			_, _ = input.ReadString('\n')
		}
		return things.List(ctx, options)
	})
	pages.PageSize = 2
	pages.FullListIfExpired = true
	list, _, err := pages.List(context.Background(), metav1.ListOptions{})
	must(err)
	names := []string{}
	must(meta.EachListItem(list, func(item runtime.Object) error {
		names = append(names, item.(metav1.Object).GetName())
		return nil
	}))
	say("read", names)
}
