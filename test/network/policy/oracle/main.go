// The oracle: for Kubernetes objects and questions on standard input, a line of JSON for each case, what the policies of
// networking.k8s.io/v1 allow, worked out by cyclonus' matcher and by Kubernetes' own label selectors.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"

	"github.com/mattfenwick/cyclonus/pkg/matcher"
	v1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

const lineBytesMax = 64 << 20

// testCase asks for every sender to every receiver of its family but itself, at every port, in this order.
type testCase struct {
	Namespaces []v1.Namespace
	Pods       []v1.Pod
	Policies   []*networkingv1.NetworkPolicy
	Senders    []string
	Receivers  []string
	Ports      []portKey
}

type portKey struct {
	Protocol v1.Protocol
	Port     int
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, lineBytesMax)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for lines.Scan() {
		var one testCase
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			fail(err)
		}
		answer, err := judge(one)
		if err != nil {
			fail(err)
		}
		fmt.Fprintln(out, answer)
	}
	if err := lines.Err(); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// judge answers with a digit for each question: 1 where the sender may send, and 2 more where the receiver may receive.
func judge(one testCase) (string, error) {
	for _, policy := range one.Policies {
		setDefaults(policy)
	}
	peers, err := peersByAddress(one)
	if err != nil {
		return "", err
	}
	policies := matcher.BuildNetworkPolicies(false, one.Policies)
	var answer []byte
	for _, sender := range one.Senders {
		from, err := peerAt(peers, sender)
		if err != nil {
			return "", err
		}
		for _, receiver := range one.Receivers {
			to, err := peerAt(peers, receiver)
			if err != nil {
				return "", err
			}
			if from.address == to.address || from.address.Is4() != to.address.Is4() {
				continue
			}
			for _, port := range one.Ports {
				answer = append(answer, digit(policies, from, to, port))
			}
		}
	}
	return string(answer), nil
}

func digit(policies *matcher.Policy, from, to peer, port portKey) byte {
	verdict := policies.IsTrafficAllowed(&matcher.Traffic{
		Source:           from.peer,
		Destination:      to.peer,
		ResolvedPort:     port.Port,
		ResolvedPortName: to.names[port],
		Protocol:         port.Protocol,
	})
	digit := byte('0')
	if verdict.Egress.IsAllowed() {
		digit++
	}
	if verdict.Ingress.IsAllowed() {
		digit += 2
	}
	return digit
}

// setDefaults fills in what the API server would (SetDefaults_NetworkPolicy); cyclonus wants it filled in.
func setDefaults(policy *networkingv1.NetworkPolicy) {
	if len(policy.Spec.PolicyTypes) > 0 {
		return
	}
	policy.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
	if len(policy.Spec.Egress) > 0 {
		policy.Spec.PolicyTypes = append(policy.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
	}
}

type peer struct {
	address netip.Addr
	peer    *matcher.TrafficPeer
	names   map[portKey]string
}

// peerAt is the pod at an address, or the address alone.
func peerAt(peers map[netip.Addr]peer, address string) (peer, error) {
	parsed, err := netip.ParseAddr(address)
	if err != nil {
		return peer{}, err
	}
	if found, ok := peers[parsed]; ok {
		return found, nil
	}
	return peer{address: parsed, peer: &matcher.TrafficPeer{IP: address}}, nil
}

func peersByAddress(one testCase) (map[netip.Addr]peer, error) {
	selectors := newSelectors(one.Policies)
	namespaces := map[string]map[string]string{}
	for _, namespace := range one.Namespaces {
		labels := map[string]string{v1.LabelMetadataName: namespace.Name}
		for key, value := range namespace.Labels {
			labels[key] = value
		}
		namespaces[namespace.Name] = labels
	}
	peers := map[netip.Addr]peer{}
	for _, pod := range one.Pods {
		if !hasAddress(pod) {
			continue
		}
		for _, ip := range pod.Status.PodIPs {
			address, err := netip.ParseAddr(ip.IP)
			if err != nil {
				return nil, err
			}
			peers[address] = peer{
				address: address,
				peer: &matcher.TrafficPeer{IP: ip.IP, Internal: &matcher.InternalPeer{
					Namespace:       pod.Namespace,
					NamespaceLabels: selectors.marks(namespaces[pod.Namespace]),
					PodLabels:       selectors.marks(pod.Labels),
				}},
				names: portNames(pod),
			}
		}
	}
	return peers, nil
}

func hasAddress(pod v1.Pod) bool {
	return !pod.Spec.HostNetwork && pod.Status.Phase != v1.PodSucceeded && pod.Status.Phase != v1.PodFailed
}

// portNames has one name a port: a pod with two for one number is no case for this oracle.
func portNames(pod v1.Pod) map[portKey]string {
	names := map[portKey]string{}
	always := v1.ContainerRestartPolicyAlways
	containers := pod.Spec.Containers
	for _, container := range pod.Spec.InitContainers {
		if container.RestartPolicy != nil && *container.RestartPolicy == always {
			containers = append(containers, container)
		}
	}
	for _, container := range containers {
		for _, port := range container.Ports {
			protocol := port.Protocol
			if protocol == "" {
				protocol = v1.ProtocolTCP
			}
			names[portKey{protocol, int(port.ContainerPort)}] = port.Name
		}
	}
	return names
}
