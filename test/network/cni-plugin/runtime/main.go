// The runtime's side of CNI, as containerd has it: libcni itself, with its cache of results. It reads one step a line from
// standard input and answers each with one line of JSON.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
)

type step struct {
	Do           string                 `json:"do"`
	Container    string                 `json:"container"`
	Netns        string                 `json:"netns"`
	Args         [][2]string            `json:"args"`
	Capabilities map[string]interface{} `json:"capabilities"`
	Valid        []types.GCAttachment   `json:"valid"`
	// Of ADD-MANY: what to add at once.
	Many []step `json:"many"`
}

type answer struct {
	Result  types.Result `json:"result,omitempty"`
	Cached  types.Result `json:"cached,omitempty"`
	Version string       `json:"version,omitempty"`
	Code    uint         `json:"code,omitempty"`
	Error   string       `json:"error,omitempty"`
	Names   []string     `json:"names,omitempty"`
	// Milliseconds that the step took.
	Took int64 `json:"took"`
}

const interfaceName = "eth0"

func failed(err error) answer {
	out := answer{Error: err.Error()}
	var refusal *types.Error
	if errors.As(err, &refusal) {
		out.Code = refusal.Code
	}
	return out
}

func conf(one step, container string) *libcni.RuntimeConf {
	return &libcni.RuntimeConf{
		ContainerID: container, NetNS: one.Netns, IfName: interfaceName, Args: one.Args, CapabilityArgs: one.Capabilities,
	}
}

func perform(ctx context.Context, cni *libcni.CNIConfig, list *libcni.NetworkConfigList, one step) answer {
	runtime := conf(one, one.Container)
	var err error
	switch one.Do {
	case "ADD":
		var out answer
		if out.Result, err = cni.AddNetworkList(ctx, list, runtime); err == nil {
			out.Cached, err = cni.GetNetworkListCachedResult(list, runtime)
		}
		if err == nil {
			out.Version = out.Result.Version()
			return out
		}
	case "ADD-MANY":
		err = addMany(ctx, cni, list, one.Many)
	case "CHECK":
		err = cni.CheckNetworkList(ctx, list, runtime)
	case "DEL":
		err = cni.DelNetworkList(ctx, list, runtime)
	case "GC":
		err = cni.GCNetworkList(ctx, list, &libcni.GCArgs{ValidAttachments: one.Valid})
	case "STATUS":
		err = cni.GetStatusNetworkList(ctx, list)
	case "VALIDATE":
		var names []string
		if names, err = cni.ValidateNetworkList(ctx, list); err == nil {
			return answer{Names: names, Version: list.CNIVersion}
		}
	case "ATTACHMENTS":
		var cached []*libcni.NetworkAttachment
		if cached, err = cni.GetCachedAttachments(""); err == nil {
			out := answer{Names: []string{}}
			for _, attachment := range cached {
				out.Names = append(out.Names, attachment.ContainerID)
			}
			return out
		}
	default:
		err = errors.New("unknown step " + one.Do)
	}
	if err != nil {
		return failed(err)
	}
	return answer{}
}

func addMany(ctx context.Context, cni *libcni.CNIConfig, list *libcni.NetworkConfigList, many []step) error {
	errs := make(chan error, len(many))
	for _, one := range many {
		go func() {
			_, err := cni.AddNetworkList(ctx, list, conf(one, one.Container))
			errs <- err
		}()
	}
	var all []error
	for range many {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

func main() {
	if len(os.Args) != 4 {
		println("usage: runtime PLUGIN-FOLDER CONFLIST CACHE-FOLDER")
		os.Exit(2)
	}
	list, err := libcni.NetworkConfFromFile(os.Args[2])
	if err != nil {
		println(err.Error())
		os.Exit(1)
	}
	cni := libcni.NewCNIConfigWithCacheDir([]string{os.Args[1]}, os.Args[3], nil)
	lines := bufio.NewScanner(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var one step
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			println(err.Error())
			os.Exit(1)
		}
		start := time.Now()
		said := perform(context.Background(), cni, list, one)
		said.Took = time.Since(start).Milliseconds()
		if err := out.Encode(said); err != nil {
			os.Exit(1)
		}
	}
}
