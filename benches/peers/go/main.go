// The same rows in Go: a goroutine that owns a state, behind a channel. The bench beside this builds it and runs it, one row a process:
//
//	go run main.go WORK SENDERS WORKERS COUNT UNIT
//
// Channels have a bound of 256, as the others' mailboxes. Those of "big" never fill: a node has one ping on its way, so what may
// wait for one is a ping of each other, a pong, and the start.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const (
	bound = 256
	fan   = 10_000
	nodes = 120
)

// gate opens when so many have arrived.
type gate struct {
	left, sum int64
	open      chan struct{}
}

func newGate(count int) *gate {
	return &gate{left: int64(count), open: make(chan struct{})}
}

func (g *gate) bring(n int) {
	atomic.AddInt64(&g.sum, int64(n))
	if atomic.AddInt64(&g.left, -1) == 0 {
		close(g.open)
	}
}

func (g *gate) wait() int {
	<-g.open
	return int(atomic.LoadInt64(&g.sum))
}

func check(ok bool) {
	if !ok {
		panic("a wrong result")
	}
}

// message is an addition, or, with a reply channel, a question; with a gate, a tick.
type message struct {
	add   int
	gate  *gate
	reply chan int
}

func counter(n int) chan message {
	mailbox := make(chan message, bound)
	go func() {
		for m := range mailbox {
			switch {
			case m.reply != nil:
				m.reply <- n
			case m.gate != nil:
				n++
				m.gate.bring(0)
			default:
				n += m.add
			}
		}
	}()
	return mailbox
}

func get(actor chan message) int {
	reply := make(chan int, 1)
	actor <- message{reply: reply}
	return <-reply
}

func tell(count, senders int, start func() meter) float64 {
	actor := counter(0)
	m := start()
	send := func() {
		for n := 0; n < count/senders; n++ {
			actor <- message{add: 1}
		}
	}
	if senders == 1 {
		send()
	} else {
		all := newGate(senders)
		for n := 0; n < senders; n++ {
			go func() {
				send()
				all.bring(0)
			}()
		}
		all.wait()
	}
	check(get(actor) == count)
	return m.each(count)
}

func ask(count int, start func() meter) float64 {
	actor := counter(1)
	m, sum := start(), 0
	for n := 0; n < count; n++ {
		sum += get(actor)
	}
	check(sum == count)
	return m.each(count)
}

func fanOut(count int, start func() meter) float64 {
	actors := make([]chan message, fan)
	for n := range actors {
		actors[n] = counter(0)
	}
	round := func() {
		all := newGate(fan)
		for _, actor := range actors {
			actor <- message{gate: all}
		}
		all.wait()
	}
	round() // All have started.
	m := start()
	for n := 0; n < count/fan; n++ {
		round()
	}
	each := m.each(count)
	for _, actor := range actors {
		check(get(actor) == count/fan+1)
	}
	return each
}

// random is the others' generator.
type random uint64

func (r *random) other(me int) int {
	x := uint64(*r)
	x ^= x << 13
	x ^= x >> 7
	x ^= x << 17
	*r = random(x)
	to := int((x >> 32) % (nodes - 1))
	if to >= me {
		to++
	}
	return to
}

// nodeMessage is the start, a pong, or a ping from the node with this number.
type nodeMessage int

const (
	goOn nodeMessage = -1
	pong nodeMessage = -2
)

func node(me, left int, all []chan nodeMessage, end *gate) {
	r, answered := random(uint64(me+1)*0x9e3779b97f4a7c15|1), 0
	for m := range all[me] {
		switch {
		case m >= 0:
			all[m] <- pong
			continue
		case m == pong:
			answered++
		}
		if left == 0 {
			end.bring(answered)
			continue
		}
		left--
		all[r.other(me)] <- nodeMessage(me)
	}
}

func big(count int, start func() meter) float64 {
	all, end := make([]chan nodeMessage, nodes), newGate(nodes)
	for n := range all {
		all[n] = make(chan nodeMessage, nodes+2)
	}
	for n := range all {
		go node(n, count/nodes, all, end)
	}
	m := start()
	for _, mailbox := range all {
		mailbox <- goOn
	}
	check(end.wait() == count)
	return m.each(count)
}

// isTime says when to let others run, as with the others.
func isTime(n int) bool {
	return n%256 == 255
}

func create(count int, start func() meter) float64 {
	all := newGate(count)
	m := start()
	for n := 0; n < count; n++ {
		mailbox := make(chan int, 1)
		go func() {
			sum := 0
			for add := range mailbox {
				sum += add
			}
			all.bring(sum)
		}()
		mailbox <- 1
		close(mailbox)
		if isTime(n) {
			runtime.Gosched()
		}
	}
	check(all.wait() == count)
	return m.each(count)
}

func idle(count int, start func() meter) float64 {
	all := newGate(count)
	actors := make([]chan chan int, count)
	m := start()
	for n := range actors {
		mailbox := make(chan chan int)
		actors[n] = mailbox
		go func(n int) {
			all.bring(0)
			for reply := range mailbox {
				reply <- n
			}
		}(n)
		if isTime(n) {
			runtime.Gosched()
		}
	}
	all.wait()
	each, sum := m.each(count), 0
	for _, actor := range actors {
		reply := make(chan int, 1)
		actor <- reply
		sum += <-reply
	}
	check(sum == count*(count-1)/2)
	return each
}

// meter is what was read at the start, in this unit.
type meter struct {
	unit  string
	start int64
}

func (m meter) each(count int) float64 {
	return float64(read(m.unit)-m.start) / float64(count)
}

var begun = time.Now()

func read(unit string) int64 {
	switch unit {
	case "cpu":
		const processTime = 2
		var ts syscall.Timespec
		_, _, err := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, processTime, uintptr(unsafe.Pointer(&ts)), 0)
		check(err == 0)
		return ts.Nano()
	case "wall":
		return int64(time.Since(begun))
	case "resident":
		statm, err := os.ReadFile("/proc/self/statm")
		check(err == nil)
		pages, err := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
		check(err == nil)
		return pages * 4096
	}
	panic("no unit " + unit)
}

func main() {
	number := func(at int) int {
		n, err := strconv.Atoi(os.Args[at])
		check(err == nil)
		return n
	}
	work, senders, count, unit := os.Args[1], number(2), number(4), os.Args[5]
	runtime.GOMAXPROCS(number(3))
	start := func() meter { return meter{unit, read(unit)} }
	each := 0.0
	switch work {
	case "tell":
		each = tell(count, senders, start)
	case "ask":
		each = ask(count, start)
	case "fan-out":
		each = fanOut(count, start)
	case "big":
		each = big(count, start)
	case "create":
		each = create(count, start)
	case "idle":
		each = idle(count, start)
	default:
		panic("no work " + work)
	}
	fmt.Println(each)
}
