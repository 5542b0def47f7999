// seccomp prints the filter that a container runtime loads for `seccompProfile: RuntimeDefault` and a container without capabilities, as
// bubblewrap wants it: the instructions of a BPF program, one after another.
//
// The profile is moby's, out of its module and not copied here; containerd's follows it.
package main

import (
	"encoding/binary"
	"fmt"
	"os"

	filter "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "seccomp:", err)
		os.Exit(1)
	}
}

func run() error {
	unprivileged := &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{}}}
	profile, err := seccomp.GetDefaultProfile(unprivileged)
	if err != nil {
		return err
	}
	policy, err := policyOf(profile)
	if err != nil {
		return err
	}
	program, err := policy.Assemble()
	if err != nil {
		return err
	}
	instructions, err := bpf.Assemble(program)
	if err != nil {
		return err
	}
	return binary.Write(os.Stdout, binary.NativeEndian, instructions)
}

func policyOf(profile *specs.LinuxSeccomp) (*filter.Policy, error) {
	machine, err := arch.GetInfo("")
	if err != nil {
		return nil, err
	}
	otherwise, err := action(profile.DefaultAction, profile.DefaultErrnoRet)
	if err != nil {
		return nil, err
	}
	policy := &filter.Policy{DefaultAction: otherwise}
	for _, rule := range profile.Syscalls {
		does, err := action(rule.Action, rule.ErrnoRet)
		if err != nil {
			return nil, err
		}
		group := filter.SyscallGroup{Action: does}
		conditions, err := conditionsOf(rule.Args)
		if err != nil {
			return nil, err
		}
		for _, name := range rule.Names {
			// The profile names the calls of every machine.
			if _, known := machine.SyscallNames[name]; !known {
				continue
			}
			if len(conditions) == 0 {
				group.Names = append(group.Names, name)
			} else {
				named := filter.NameWithConditions{Name: name, Conditions: conditions}
				group.NamesWithCondtions = append(group.NamesWithCondtions, named)
			}
		}
		policy.Syscalls = append(policy.Syscalls, group)
	}
	return policy, nil
}

func action(name specs.LinuxSeccompAction, errno *uint) (filter.Action, error) {
	switch {
	case name == specs.ActAllow:
		return filter.ActionAllow, nil
	case name == specs.ActErrno && (errno == nil || *errno == uint(unix.EPERM)):
		return filter.ActionErrno, nil
	case name == specs.ActErrno:
		return filter.ActionErrno | filter.Action(*errno), nil
	}
	return 0, fmt.Errorf("unknown action %s", name)
}

func conditionsOf(arguments []specs.LinuxSeccompArg) (filter.ArgumentConditions, error) {
	var all filter.ArgumentConditions
	for _, it := range arguments {
		condition := filter.Condition{Argument: uint32(it.Index), Value: it.Value}
		switch {
		case it.Op == specs.OpEqualTo:
			condition.Operation = filter.Equal
		case it.Op == specs.OpLessThan:
			condition.Operation = filter.LessThan
		case it.Op == specs.OpMaskedEqual && it.ValueTwo == 0:
			condition.Operation = filter.BitsNotSet
		default:
			return nil, fmt.Errorf("unknown comparison %+v", it)
		}
		all = append(all, condition)
	}
	return all, nil
}
