module heddle.dev/cni-runtime

go 1.24.0

require github.com/containernetworking/cni v1.3.0

tool github.com/containernetworking/cni/cnitool
