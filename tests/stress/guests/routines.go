// Goroutines that never yield, so that only signals can take the processor from them; panics made
// by faults; garbage collection; timers; system calls; a CPU profile of the program's own.
// SPDX-License-Identifier: MIT
package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"sort"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

type tree struct{ left, right *tree }

func grow(depth int) *tree {
	if depth == 0 {
		return &tree{}
	}
	return &tree{grow(depth - 1), grow(depth - 1)}
}

func (t *tree) count() int {
	if t.left == nil {
		return 1
	}
	return 1 + t.left.count() + t.right.count()
}

func nilFault(t *tree) (err error) {
	defer func() {
		if e, ok := recover().(runtime.Error); ok {
			err = e
		}
	}()
	return fmt.Errorf("read %v", t.left)
}

func divideFault(a, b int) (err error) {
	defer func() {
		if e := recover(); e != nil {
			err = e.(error)
		}
	}()
	return fmt.Errorf("%d", a/b)
}

func wildFault() (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	page, _ := syscall.Mmap(-1, 0, 4096, syscall.PROT_NONE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	defer func() {
		if recover() != nil {
			err = errors.New("fault in a page without access")
		}
	}()
	return fmt.Errorf("read %d", page[0])
}

// A loop without calls: before signals preempted goroutines, this hung the program.
func spin(started, stop *int32) (turns uint64) {
	atomic.StoreInt32(started, 1)
	for atomic.LoadInt32(stop) == 0 {
		turns++
	}
	return
}

func preempted() bool {
	old := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(old)
	var started, stop int32
	done := make(chan bool)
	go func() { done <- spin(&started, &stop) > 0 }()
	for atomic.LoadInt32(&started) == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(5 * time.Millisecond)
	atomic.StoreInt32(&stop, 1)
	return <-done
}

func pipeline(n, width int) int {
	source := make(chan int)
	go func() {
		for i := 0; i < n; i++ {
			source <- i
		}
		close(source)
	}()
	sums := make(chan int)
	for w := 0; w < width; w++ {
		go func() {
			sum := 0
			for x := range source {
				sum += x * x
			}
			sums <- sum
		}()
	}
	total := 0
	for w := 0; w < width; w++ {
		total += <-sums
	}
	return total
}

func locked(width, n int) int {
	var mutex sync.Mutex
	var group sync.WaitGroup
	counts := map[int]int{}
	for w := 0; w < width; w++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := 0; i < n; i++ {
				mutex.Lock()
				counts[i%17]++
				mutex.Unlock()
			}
		}()
	}
	group.Wait()
	total := 0
	for _, c := range counts {
		total += c
	}
	return total
}

func signalled(n int) int {
	seen := make(chan os.Signal, n)
	signal.Notify(seen, syscall.SIGUSR1)
	defer signal.Stop(seen)
	got := 0
	for i := 0; i < n; i++ {
		syscall.Kill(os.Getpid(), syscall.SIGUSR1)
		<-seen
		got++
	}
	return got
}

func served(n int) (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				io.Copy(conn, conn)
			}()
		}
	}()
	var group sync.WaitGroup
	sums := make([]string, n)
	for i := range sums {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			conn, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				return
			}
			text := bytes.Repeat([]byte{byte('a' + i)}, 20000)
			go func() {
				conn.Write(text)
				conn.(*net.TCPConn).CloseWrite()
			}()
			back, _ := io.ReadAll(conn)
			sums[i] = fmt.Sprintf("%x", sha256.Sum256(back))[:8]
		}(i)
	}
	group.Wait()
	sort.Strings(sums)
	return fmt.Sprint(sums), nil
}

func main() {
	var profile bytes.Buffer
	pprof.StartCPUProfile(&profile)
	fmt.Println("tree", grow(17).count())
	fmt.Println("faults", nilFault(nil), "|", divideFault(1, len(os.Args)-len(os.Args)), "|", wildFault())
	fmt.Println("pipeline", pipeline(20000, 50))
	fmt.Println("locked", locked(100, 1000))
	for i := 0; i < 5; i++ {
		fmt.Println("preempted", preempted())
	}
	fmt.Println("signalled", signalled(50))
	fmt.Println(served(8))
	out, err := exec.Command("/bin/sh", "-c", "echo from a child; exit 3").Output()
	fmt.Printf("%q %v\n", out, err)
	runtime.GC()
	var sink [][]byte
	for i := 0; i < 3000; i++ {
		sink = append(sink[max(0, len(sink)-100):], make([]byte, 10000))
	}
	pprof.StopCPUProfile()
	fmt.Println("profile", profile.Len() > 0, len(sink))
	os.Exit(5)
}

func max(a, b int) int {
	if a > b {
		return a
	}
	return b
}
