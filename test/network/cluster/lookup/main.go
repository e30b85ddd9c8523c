// Looks names up as a Go program does: by Go's own resolver, which reads /etc/resolv.conf. Prints each name's addresses, sorted.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
)

func main() {
	resolver := net.Resolver{PreferGo: true}
	for _, name := range os.Args[1:] {
		addresses, err := resolver.LookupHost(context.Background(), name)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		slices.Sort(addresses)
		fmt.Println(strings.Join(addresses, " "))
	}
}
