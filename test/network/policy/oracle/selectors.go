package main

import (
	"fmt"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// selectors matches labels as the API server does. Cyclonus' own matcher differs there: NotIn never holds for it where the
// label is missing, and a missing label equals an empty value. So each selector is replaced by one that asks for a mark,
// and who matches the original gets the mark.
type selectors struct {
	originals []labels.Selector
}

func newSelectors(policies []*networkingv1.NetworkPolicy) *selectors {
	all := &selectors{}
	for _, policy := range policies {
		all.replace(&policy.Spec.PodSelector)
		for _, rule := range policy.Spec.Ingress {
			all.replacePeers(rule.From)
		}
		for _, rule := range policy.Spec.Egress {
			all.replacePeers(rule.To)
		}
	}
	return all
}

func (all *selectors) replacePeers(peers []networkingv1.NetworkPolicyPeer) {
	for _, peer := range peers {
		if peer.PodSelector != nil {
			all.replace(peer.PodSelector)
		}
		if peer.NamespaceSelector != nil {
			all.replace(peer.NamespaceSelector)
		}
	}
}

func (all *selectors) replace(selector *metav1.LabelSelector) {
	original, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		fail(err)
	}
	if original.Empty() {
		return
	}
	*selector = metav1.LabelSelector{MatchLabels: map[string]string{mark(len(all.originals)): "yes"}}
	all.originals = append(all.originals, original)
}

func (all *selectors) marks(own map[string]string) map[string]string {
	marked := map[string]string{}
	for at, original := range all.originals {
		if original.Matches(labels.Set(own)) {
			marked[mark(at)] = "yes"
		}
	}
	return marked
}

func mark(at int) string {
	return fmt.Sprintf("selector-%d", at)
}
