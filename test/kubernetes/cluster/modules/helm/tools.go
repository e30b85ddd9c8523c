//go:build tools

// Installs the chart, as an operator does.
package tools

import _ "helm.sh/helm/v4/cmd/helm"
