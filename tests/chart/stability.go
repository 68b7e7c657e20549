package chart

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

var (
	comment = regexp.MustCompile(`(?s)\{\{-?\s*/\*.*?\*/\s*-?\}\}`)
	action  = regexp.MustCompile(`(?s)\{\{.*?\}\}`)
	text    = regexp.MustCompile("(?s)\"(?:[^\"\\\\]|\\\\.)*\"|`[^`]*`")
	// What asks the cluster, the clock, the network or chance: two renders would differ, or a render without a cluster
	// (`helm template`, Argo CD) would make another password than one with it.
	unstable = regexp.MustCompile(`(?:^|[^.$A-Za-z0-9_])(lookup|rand[A-Z]\w*|shuffle|uuidv4|gen[A-Z]\w*|now|ago|date\w*|htpasswd|bcrypt|derivePassword|encryptAES|getHostByName)\b`)
)

// checkStable finds functions in templates that give another answer every time.
func checkStable(templates map[string]string) []string {
	var problems []string
	for name, content := range templates {
		for _, part := range action.FindAllString(comment.ReplaceAllString(content, ""), -1) {
			// Strings are text; a name after a dot or a dollar is a value or a variable.
			for _, found := range unstable.FindAllStringSubmatch(text.ReplaceAllString(part, `""`), -1) {
				problems = append(problems, fmt.Sprintf("%s uses %s", name, found[1]))
			}
		}
	}
	return problems
}

// templates reads all of the chart's.
func templates() (map[string]string, error) {
	found := map[string]string{}
	err := filepath.WalkDir(filepath.Join(chartPath, "templates"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		found[strings.TrimPrefix(path, chartPath+"/")] = string(content)
		return err
	})
	return found, err
}
