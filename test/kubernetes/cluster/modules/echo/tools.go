//go:build tools

// The conformance suite's manifests run this server in pods, and its tests exec this client there.
package tools

import (
	_ "istio.io/istio/pkg/test/echo/cmd/client"
	_ "istio.io/istio/pkg/test/echo/cmd/server"
)
