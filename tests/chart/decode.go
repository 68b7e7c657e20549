package chart

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	serializer "k8s.io/apimachinery/pkg/runtime/serializer/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

// object is one rendered document.
type object struct {
	schema.GroupVersionKind
	// Its template, which helm writes above it; empty for a document that is not helm's.
	template string
	meta     metav1.ObjectMeta
	// Its API type. Nil for a kind that is known by its resource definition alone.
	typed runtime.Object
}

func (o object) String() string { return o.Kind + "/" + o.meta.Name }

// ofOperator says whether the values brought the object as it is, so that the chart answers for nothing in it.
func (o object) ofOperator() bool { return strings.HasSuffix(o.template, "/extra-objects.yaml") }

// known are the API types: Kubernetes' own, and those of others that the chart makes objects of.
var known = sync.OnceValue(func() *runtime.Scheme {
	types := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, monitoringv1.AddToScheme, gatewayv1.Install} {
		if err := add(types); err != nil {
			panic(err)
		}
	}
	return types
})

// definitions are resource definitions in the modules of those who wrote them, by the kinds that they define. They
// know more than types do: which values a field may have.
var definitions = map[string]struct{ module, file string }{
	"HTTPRoute.gateway.networking.k8s.io": {"sigs.k8s.io/gateway-api", "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"},
	"Cluster.postgresql.cnpg.io":          {"github.com/cloudnative-pg/cloudnative-pg", "config/crd/bases/postgresql.cnpg.io_clusters.yaml"},
}

var source = regexp.MustCompile(`(?m)^# Source: (\S+)$`)

// decode reads manifests. Every document has to fit its API type exactly: a field that is not in the type, or is there
// twice, is one that a cluster would drop without a word, or refuse.
func decode(manifests []byte) ([]object, []string) {
	var objects []object
	var problems []string
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifests)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objects, problems
		}
		if err != nil {
			return objects, append(problems, err.Error())
		}
		var content any
		if err := yaml.Unmarshal(document, &content); err == nil && content == nil {
			continue
		}
		decoded, err := decodeDocument(document)
		if match := source.FindSubmatch(document); match != nil {
			decoded.template = string(match[1])
		}
		if err != nil {
			problems = append(problems, strings.TrimSpace(fmt.Sprintf("%s %s: %v", decoded.template, decoded, err)))
			continue
		}
		objects = append(objects, decoded)
	}
}

func decodeDocument(document []byte) (object, error) {
	var decoded object
	var head struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata"`
	}
	if err := yaml.Unmarshal(document, &head); err != nil {
		return decoded, err
	}
	decoded.GroupVersionKind = head.GroupVersionKind()
	decoded.meta = head.ObjectMeta
	_, isDefined := definitions[decoded.GroupKind().String()]
	if isDefined {
		if err := checkDefinition(decoded.GroupVersionKind, document); err != nil {
			return decoded, err
		}
	}
	if !known().Recognizes(decoded.GroupVersionKind) {
		if isDefined {
			return decoded, nil
		}
		return decoded, fmt.Errorf("%s is a kind that nobody knows", decoded.GroupVersionKind)
	}
	strict := serializer.NewSerializerWithOptions(serializer.DefaultMetaFactory, known(), known(), serializer.SerializerOptions{Yaml: true, Strict: true})
	typed, _, err := strict.Decode(document, nil, nil)
	if err != nil {
		return decoded, err
	}
	decoded.typed = typed
	if _, err := meta.Accessor(typed); err != nil {
		return decoded, err
	}
	if decoded.meta.Name == "" {
		return decoded, errors.New("has no name")
	}
	return decoded, nil
}

// definition gives the schema of a kind in a module's resource definition.
func definition(kind schema.GroupVersionKind) (*spec.Schema, error) {
	where := definitions[kind.GroupKind().String()]
	// Downloads it where it is not there yet; go.sum says what it has to be.
	output, err := run("go", "mod", "download", "-json", where.module)
	if err != nil {
		return nil, err
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(output, &module); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(module.Dir, where.file))
	if err != nil {
		return nil, err
	}
	var resource struct {
		Spec struct {
			Versions []struct {
				Name   string
				Schema struct{ OpenAPIV3Schema json.RawMessage }
			}
		}
	}
	if err := yaml.Unmarshal(text, &resource); err != nil {
		return nil, err
	}
	for _, version := range resource.Spec.Versions {
		if version.Name == kind.Version {
			var result spec.Schema
			return &result, json.Unmarshal(version.Schema.OpenAPIV3Schema, &result)
		}
	}
	return nil, fmt.Errorf("%s has no version %s", where.file, kind.Version)
}

func checkDefinition(kind schema.GroupVersionKind, document []byte) error {
	rules, err := definition(kind)
	if err != nil {
		return err
	}
	var content map[string]any
	if err := yaml.UnmarshalStrict(document, &content); err != nil {
		return err
	}
	var errs []error
	// The API server checks the metadata of all kinds by itself; definitions only say `object`.
	content["metadata"] = map[string]any{}
	unknownFields(rules, content, kind.Kind, func(path string) {
		errs = append(errs, fmt.Errorf("unknown field %q", path))
	})
	result := validate.NewSchemaValidator(rules, nil, kind.Kind, strfmt.Default).Validate(content)
	return errors.Join(append(errs, result.Errors...)...)
}

// unknownFields reports what a schema does not name. Structural schemas drop such fields, and the validator of their
// values does not mind them.
func unknownFields(rules *spec.Schema, content any, path string, report func(string)) {
	if keep, _ := rules.Extensions.GetBool("x-kubernetes-preserve-unknown-fields"); keep {
		return
	}
	switch content := content.(type) {
	case map[string]any:
		for name, value := range content {
			below := path + "." + name
			if property, found := rules.Properties[name]; found {
				unknownFields(&property, value, below, report)
			} else if rules.AdditionalProperties != nil {
				if rules.AdditionalProperties.Schema != nil {
					unknownFields(rules.AdditionalProperties.Schema, value, below, report)
				}
			} else {
				report(below)
			}
		}
	case []any:
		if rules.Items != nil && rules.Items.Schema != nil {
			for index, value := range content {
				unknownFields(rules.Items.Schema, value, fmt.Sprintf("%s[%d]", path, index), report)
			}
		}
	}
}
