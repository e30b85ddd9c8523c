package conformance

import (
	"testing"

	"sigs.k8s.io/gateway-api/conformance"
)

// TestConformance is the official suite; its flags say which cluster, features and tests.
func TestConformance(t *testing.T) {
	conformance.RunConformance(t)
}
