// SPDX-License-Identifier: MIT

// An HTTP server and its clients in one program; what it prints is the same each time.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

func main() {
	directory := os.Args[1]
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
	check(os.WriteFile(filepath.Join(directory, "file"), data, 0o644))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	server := &http.Server{Handler: handlers(directory)}
	ended := make(chan error)
	go func() { ended <- server.Serve(listener) }()
	base := "http://" + listener.Addr().String()

	posts(base, data)
	file(base)
	deadlines(base, listener.Addr().String())
	datagram()
	_, err = net.Dial("tcp", "127.0.0.1:1")
	fmt.Println("nobody there:", err)
	_, err = net.LookupHost("no-such-name.invalid")
	fmt.Println("no such name:", err != nil)
	loopback, err := net.InterfaceByName("lo")
	check(err)
	fmt.Println(loopback.Name, loopback.Flags)
	fmt.Println("shutdown:", server.Shutdown(context.Background()), <-ended)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func sum(r io.Reader) string {
	h := sha256.New()
	n, err := io.Copy(h, r)
	check(err)
	return fmt.Sprint(n, " ", hex.EncodeToString(h.Sum(nil)))
}

func handlers(directory string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/sum", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, sum(r.Body)) })
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(20 * time.Second):
		}
	})
	mux.Handle("/files/", http.StripPrefix("/files/", http.FileServer(http.Dir(directory))))
	return mux
}

func posts(base string, data []byte) {
	var clients sync.WaitGroup
	var lock sync.Mutex
	right := 0
	for client := 0; client < 32; client++ {
		clients.Add(1)
		go func(body []byte) {
			defer clients.Done()
			expected := sum(bytes.NewReader(body))
			for i := 0; i < 20; i++ {
				answer, err := http.Post(base+"/sum", "application/octet-stream", bytes.NewReader(body))
				check(err)
				said, err := io.ReadAll(answer.Body)
				check(err)
				answer.Body.Close()
				if string(said) == expected {
					lock.Lock()
					right++
					lock.Unlock()
				}
			}
		}(data[:client*1000])
	}
	clients.Wait()
	fmt.Println("posts:", right)
}

func file(base string) {
	answer, err := http.Get(base + "/files/file")
	check(err)
	fmt.Println("file:", answer.Status, sum(answer.Body))
	answer.Body.Close()
}

func deadlines(base string, address string) {
	limited, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	request, err := http.NewRequestWithContext(limited, "GET", base+"/slow", nil)
	check(err)
	_, err = http.DefaultClient.Do(request)
	fmt.Println("deadline of a request:", os.IsTimeout(err))
	connection, err := net.Dial("tcp", address)
	check(err)
	check(connection.SetReadDeadline(time.Now().Add(100 * time.Millisecond)))
	_, err = connection.Read(make([]byte, 1))
	fmt.Println("deadline of a read:", os.IsTimeout(err))
	connection.Close()
}

func datagram() {
	receiver, err := net.ListenPacket("udp", "127.0.0.1:0")
	check(err)
	sender, err := net.Dial("udp", receiver.LocalAddr().String())
	check(err)
	_, err = sender.Write([]byte("a datagram"))
	check(err)
	buffer := make([]byte, 100)
	n, _, err := receiver.ReadFrom(buffer)
	check(err)
	fmt.Println("received:", string(buffer[:n]))
}
