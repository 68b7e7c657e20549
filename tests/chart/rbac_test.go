package chart

import "testing"

func TestRoles(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { reportAll(t, checkRoles(render(t, c.rendering), c.rendering)) })
	}
}
