package chart

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Where things are, from this folder, in which `go test` runs.
const (
	root      = "../.."
	chartPath = root + "/helm/triptych"
)

// The namespace and the release that everything is rendered for unless a test says otherwise.
const (
	namespace = "triptych"
	release   = "board"
)

// rendering is what is given to helm.
type rendering struct {
	// Name of the release; empty: the usual one.
	release string
	// Folder of the chart; empty: ours.
	chart string
	// Files of values, and single values as `--set-json` takes them.
	files []string
	set   []string
	// Further arguments.
	arguments []string
}

// program finds one that the tests cannot do without.
func program(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		// Debian's nginx is where only root's PATH leads.
		if path, sbin := exec.LookPath(filepath.Join("/usr/sbin", name)); sbin == nil {
			return path, nil
		}
		return "", fmt.Errorf("%s is missing: `tests/install chart` installs it", name)
	}
	return path, nil
}

// run runs a program and gives what it printed; what it complained about is in the error.
func run(name string, arguments ...string) ([]byte, error) {
	path, err := program(name)
	if err != nil {
		return nil, err
	}
	command := exec.Command(path, arguments...)
	// Whatever cluster there is, it is not asked.
	command.Env = append(os.Environ(), "KUBECONFIG=/dev/null")
	var output, complaint bytes.Buffer
	command.Stdout, command.Stderr = &output, &complaint
	if err := command.Run(); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			return nil, err
		}
		return output.Bytes(), fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(arguments, " "), err, complaint.String(), output.String())
	}
	return output.Bytes(), nil
}

func (r rendering) values() []string {
	var arguments []string
	for _, file := range r.files {
		arguments = append(arguments, "--values", file)
	}
	for _, value := range r.set {
		arguments = append(arguments, "--set-json", value)
	}
	return append(arguments, r.arguments...)
}

func (r rendering) name() string {
	if r.release == "" {
		return release
	}
	return r.release
}

// template gives the manifests as helm prints them.
func (r rendering) template() ([]byte, error) {
	chart := r.chart
	if chart == "" {
		chart = chartPath
	}
	return run("helm", append([]string{"template", r.name(), chart, "--namespace", namespace}, r.values()...)...)
}

// lint has helm look at the chart with these values; a warning counts as an error.
func (r rendering) lint() error {
	_, err := run("helm", append([]string{"lint", "--strict", "--quiet", "--namespace", namespace, chartPath}, r.values()...)...)
	return err
}

// fullname is the prefix of the names of all objects: the chart's rule, written a second time.
func (r rendering) fullname() string {
	full := strings.ReplaceAll(r.name(), ".", "-")
	if !strings.Contains(full, "triptych") {
		full += "-triptych"
	}
	if len(full) <= 40 {
		return full
	}
	hash := sha256.Sum256([]byte(full))
	return fmt.Sprintf("%s-%x", strings.TrimSuffix(full[:33], "-"), hash[:3])
}
