package chart

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// checkSchema holds the schema and the values of a chart against each other: every key of the one is in the other, no
// object with known keys lets unknown ones pass, and nothing is looked up outside of the file.
func checkSchema(schemaText []byte, values map[string]any) []string {
	var document map[string]any
	if err := json.Unmarshal(schemaText, &document); err != nil {
		return []string{err.Error()}
	}
	c := schemaCheck{document: document}
	c.local(document, "")
	c.walk(document, values, "")
	return c.problems
}

type schemaCheck struct {
	document map[string]any
	problems []string
}

func (c *schemaCheck) report(format string, arguments ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, arguments...))
}

// resolve follows a `$ref` within the file.
func (c *schemaCheck) resolve(rules map[string]any) map[string]any {
	reference, found := rules["$ref"].(string)
	if !found {
		return rules
	}
	var target any = c.document
	for _, name := range strings.Split(strings.TrimPrefix(reference, "#/"), "/") {
		object, _ := target.(map[string]any)
		target = object[name]
	}
	object, found := target.(map[string]any)
	if !found {
		c.report("%s leads nowhere", reference)
	}
	return object
}

// local finds references to what is not in the file. Whoever installs the chart may have no internet, and helm would
// wait for it.
func (c *schemaCheck) local(part any, path string) {
	switch part := part.(type) {
	case map[string]any:
		for name, value := range part {
			if reference, isText := value.(string); isText && (name == "$ref" || name == "$dynamicRef" || name == "$id") && !strings.HasPrefix(reference, "#") {
				c.report("%s/%s is %q, outside of the file", path, name, reference)
			}
			// An object that may have only what is named says so at every level, in lists and definitions too.
			if _, closed := part["additionalProperties"]; name == "properties" && !closed && !openOnPurpose[path] {
				c.report("%s has properties and lets unknown ones pass", path)
			}
			c.local(value, path+"/"+name)
		}
	case []any:
		for index, value := range part {
			c.local(value, fmt.Sprintf("%s/%d", path, index))
		}
	}
}

// openOnPurpose are objects of Kubernetes' own API of which only a part is looked at: the rest is checked by the cluster.
var openOnPurpose = map[string]bool{"/properties/app/properties/extraEnv/items": true}

// onlySchema are keys that helm puts in by itself.
var onlySchema = map[string]bool{"global": true}

func (c *schemaCheck) walk(rules, values map[string]any, path string) {
	properties, named := c.resolve(rules)["properties"].(map[string]any)
	if !named {
		// A map of names and values, or an object of Kubernetes' API.
		return
	}
	if extra := c.resolve(rules)["additionalProperties"]; extra != false {
		c.report("%s lets unknown keys pass", path)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if _, found := properties[name]; !found {
			c.report("%s%s is in the values and not in the schema", path, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		value, found := values[name]
		if !found {
			if !onlySchema[path+name] {
				c.report("%s%s is in the schema and not in the values", path, name)
			}
			continue
		}
		property, _ := properties[name].(map[string]any)
		c.needed(rules, property, path, name)
		if object, isObject := value.(map[string]any); isObject {
			resolved := c.resolve(property)
			if _, named := resolved["properties"]; len(object) > 0 && !named && !free[name] {
				c.report("%s%s has keys in the values, and the schema knows none of them", path, name)
			}
			c.walk(resolved, object, path+name+".")
		}
	}
}

// needed wants a key to be required unless it may be null. Somebody who leaves `ingress:` with nothing below it sets it to
// null, and to helm that means to take the key away, default and all: the templates would meet nothing where they
// expect something, and say so in the words of Go.
func (c *schemaCheck) needed(rules, property map[string]any, path, name string) {
	property = c.resolve(property)
	types, several := property["type"].([]any)
	if several && slices.Contains(types, any("null")) || onlySchema[path+name] {
		return
	}
	if required, _ := c.resolve(rules)["required"].([]any); !slices.Contains(required, any(name)) {
		c.report("%s%s may be null, by not being required", path, name)
	}
}

// free are objects of Kubernetes' API, and maps, that the values have something in.
var free = map[string]bool{
	"resources": true, "startupProbe": true, "livenessProbe": true, "readinessProbe": true, "podSecurityContext": true,
	"securityContext": true, "labels": true, "behavior": true,
}
