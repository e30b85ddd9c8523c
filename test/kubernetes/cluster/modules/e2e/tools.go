//go:build tools

// Agnhost is what runs in the pods of the cases; the command of Ginkgo runs several processes of them at a time.
package e2e

import (
	_ "github.com/onsi/ginkgo/v2/ginkgo"
	_ "k8s.io/kubernetes/test/images/agnhost"
)
