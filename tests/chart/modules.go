//go:build modules

package chart

// Modules whose files are read and whose code is not compiled: CloudNativePG's API types would bring six hundred
// packages, its resource definition says more and is a file. The import keeps the module in go.mod and go.sum.
import _ "github.com/cloudnative-pg/cloudnative-pg/pkg/versions"
