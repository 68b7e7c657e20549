package chart

import (
	"os"
	"strconv"
	"testing"

	"sigs.k8s.io/yaml"
)

// The values of the Ingress controller have what its defaults lack. HTTP/2: with HTTP/1.1 browsers keep six connections to
// a host, of which every tab with an event stream takes one.
func TestControllerValues(t *testing.T) {
	text, err := os.ReadFile(controllerValues)
	if err != nil {
		t.Fatal(err)
	}
	var values struct {
		Controller struct {
			Config struct {
				Entries map[string]string `json:"entries"`
			} `json:"config"`
		} `json:"controller"`
	}
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	entries := values.Controller.Config.Entries
	if on, err := strconv.ParseBool(entries["http2"]); err != nil || !on {
		t.Errorf("http2 is %q", entries["http2"])
	}
	if connections, err := strconv.Atoi(entries["worker-connections"]); err != nil || connections < 10_000 {
		t.Errorf("worker-connections is %q", entries["worker-connections"])
	}
}
