// Package chart checks the Helm chart of Triptych without a cluster, by what Kubernetes itself is made of.
//
// The chart is rendered by helm for a matrix of values (matrix_test.go). Each object is decoded strictly into its API
// type (decode.go), each pod is judged by the code of Kubernetes' own admission of pods (security.go), every reference
// and selector is followed (references.go, selectors.go), and an evaluator of NetworkPolicies says which pod may reach
// which (network.go). A check is a function from objects to a list of problems, so that broken_test.go can show each
// of them that it finds what it looks for.
//
// Helm, helm-docs and nginx have to be on PATH. Nothing is skipped where one is missing: the test fails and says so.
// Nothing here knows a cluster; that is the cluster test's business.
package chart
