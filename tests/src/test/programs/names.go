// SPDX-License-Identifier: MIT

// What Go finds of the names of zone.py; GODEBUG=netdns says by which resolver.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sort"
	"sync"
	"time"
)

func addresses(name string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	found, err := net.DefaultResolver.LookupHost(ctx, name)
	if err != nil {
		var e *net.DNSError
		errors.As(err, &e)
		return fmt.Sprint("not found: ", e.IsNotFound, ", temporary: ", e.IsTemporary)
	}
	sort.Strings(found)
	return fmt.Sprint(found)
}

func main() {
	names := []string{"host.zone.example.", "alias", "v4", "v6", "only", "deep.host", "none.zone.example",
		"many.zone.example", "failing.zone.example", "lost.zone.example", "entry.example"}
	expected := map[string]string{}
	for _, name := range names {
		expected[name] = addresses(name)
		fmt.Println(name, expected[name])
	}
	cname, err := net.LookupCNAME("alias.zone.example")
	fmt.Println("CNAME", cname, err)
	pointers, err := net.LookupAddr("192.0.2.10")
	fmt.Println("PTR", pointers, err)
	mails, err := net.LookupMX("host.zone.example")
	fmt.Println("MX", mails[0].Host, mails[0].Pref, err)
	texts, err := net.LookupTXT("text.zone.example")
	fmt.Println("TXT", texts, err)
	_, services, err := net.LookupSRV("ob", "tcp", "zone.example")
	fmt.Println("SRV", services[0].Target, services[0].Port, err)

	var all sync.WaitGroup
	for i := 0; i < 30; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for _, name := range names[:7] {
				if found := addresses(name); found != expected[name] {
					fmt.Println("at once", name, found)
				}
			}
		}()
	}
	all.Wait()
}
