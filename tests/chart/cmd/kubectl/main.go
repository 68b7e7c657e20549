// Command kubectl is Kubernetes' own kubectl, built from its Go module.
//
// The cluster test needs a kubectl as new as the cluster, and no package registry has one. Upstream's main program is
// in a module that cannot be installed by itself; the module k8s.io/kubectl is the whole client, and all that its main
// program does is below. Whoever builds it says its version with -ldflags (the variables of
// k8s.io/component-base/version).
package main

import (
	// Ways to log in to the clusters of cloud providers.
	_ "k8s.io/client-go/plugin/pkg/client/auth"
	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
)

func main() {
	if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
		// Prints it, and ends with the exit status that kubectl has for it.
		util.CheckErr(err)
	}
}
