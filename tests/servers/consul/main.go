// Consul as a test server: the released agent, built from its module as it stands.
package main

import (
	"os"

	"github.com/hashicorp/consul/command"
	"github.com/hashicorp/consul/command/cli"
	mcli "github.com/mitchellh/cli"
)

func main() {
	ui := &cli.BasicUI{BasicUi: mcli.BasicUi{Writer: os.Stdout, ErrorWriter: os.Stderr}}
	app := &mcli.CLI{Args: os.Args[1:], Commands: command.RegisteredCommands(ui), HelpFunc: mcli.BasicHelpFunc("consul")}
	code, err := app.Run()
	if err != nil {
		ui.Error(err.Error())
	}
	os.Exit(code)
}
