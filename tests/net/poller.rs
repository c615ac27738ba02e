//! How workers poll: nobody starves, descriptors move to where they are used, sleepers are woken, runtimes end.

use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use green::net::{TcpListener, TcpStream, UdpSocket};

use crate::help::spin_until;
use crate::{LONG, connection, echo, everywhere, runtime};

/// Echoes on the caller's worker, while `busy` goes on until the flag is set.
fn echoes_while(busy: impl FnOnce(Arc<AtomicBool>)) {
    let stop = Arc::new(AtomicBool::new(false));
    busy(stop.clone());
    let (client, server) = connection();
    let echoing = green::spawn(move || echo(server).unwrap());
    let begin = Instant::now();
    for _ in 0..200 / (crate::SCALE * crate::SCALE) {
        (&client).write_all(b"x").unwrap();
        (&client).read_exact(&mut [0]).unwrap();
    }
    // The rule is 50 µs between two looks. A machine that stops for a while is forgiven; a rule that waits for the others
    // is not.
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    drop(client);
    echoing.join().unwrap();
    stop.store(true, Ordering::Relaxed);
}

#[test]
fn a_thread_that_spins_on_yield_now_does_not_keep_events_waiting() {
    runtime(1).run(|| {
        let turns = Arc::new(AtomicUsize::new(0));
        echoes_while(|stop| {
            let turns = turns.clone();
            green::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    green::yield_now();
                    turns.fetch_add(1, Ordering::Relaxed);
                }
            });
        });
        assert!(turns.load(Ordering::Relaxed) > 200 / (crate::SCALE * crate::SCALE));
    });
}

#[test]
fn threads_that_are_always_ready_to_read_do_not_keep_the_others_waiting() {
    runtime(1).run(|| {
        // This pair never finds its sockets empty, so it never has to wait: it runs on its budget.
        let stop = Arc::new(AtomicBool::new(false));
        let busy = {
            let stop = stop.clone();
            green::spawn(move || {
                let (a, b) = connection();
                (&a).write_all(&[1; 1000]).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    (&b).read_exact(&mut [0; 10]).unwrap();
                    (&a).write_all(&[1; 10]).unwrap();
                }
            })
        };
        for _ in 0..100 {
            green::yield_now();
        }
        let (client, server) = connection();
        let echoing = green::spawn(move || echo(server).unwrap());
        for _ in 0..50 {
            (&client).write_all(b"x").unwrap();
            (&client).read_exact(&mut [0]).unwrap();
        }
        drop(client);
        echoing.join().unwrap();
        stop.store(true, Ordering::Relaxed);
        busy.join().unwrap();
    });
}

#[test]
fn threads_that_spawn_the_next_one_without_end_do_not_keep_events_waiting() {
    fn next(stop: Arc<AtomicBool>) {
        if !stop.load(Ordering::Relaxed) {
            green::spawn(move || next(stop));
        }
    }
    runtime(1).run(|| {
        echoes_while(|stop| {
            green::spawn(move || next(stop));
        });
    });
}

#[test]
fn a_thread_that_an_os_thread_wakes_without_end_does_not_keep_events_waiting() {
    let waking = runtime(1).run(|| {
        let (sender, waking) = mpsc::channel();
        echoes_while(|stop| {
            let (turns, seen) = (Arc::new(AtomicUsize::new(0)), stop.clone());
            let counted = turns.clone();
            let woken = green::spawn(move || {
                while !seen.load(Ordering::Relaxed) {
                    green::thread::park();
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            });
            // The next letter comes when the last one has been read: most often just before the worker would sleep.
            let wakes = move || {
                while !stop.load(Ordering::Relaxed) {
                    let before = turns.load(Ordering::Relaxed);
                    woken.thread().unpark();
                    while turns.load(Ordering::Relaxed) == before && !stop.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                }
                woken.thread().unpark();
            };
            sender.send(std::thread::spawn(wakes)).unwrap();
        });
        waking.recv().unwrap()
    });
    waking.join().unwrap();
}

#[test]
fn timers_and_wakes_from_elsewhere_reach_a_worker_that_sleeps_in_its_poller() {
    let runtime = runtime(1);
    let (ready, is_ready) = mpsc::channel();
    let parked = runtime.spawn(move || {
        // The worker has a poller from here on.
        let (client, _server) = connection();
        client.set_read_timeout(Some(Duration::from_millis(8))).unwrap();
        for _ in 0..5 {
            assert_eq!((&client).read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
            let begin = Instant::now();
            green::sleep(Duration::from_micros(2500));
            assert!(begin.elapsed() >= Duration::from_micros(2500));
        }
        ready.send(green::thread::current()).unwrap();
        for _ in 0..200 {
            green::thread::park();
            ready.send(green::thread::current()).unwrap();
        }
    });
    for _ in 0..200 {
        is_ready.recv_timeout(LONG).unwrap().unpark();
    }
    is_ready.recv_timeout(LONG).unwrap();
    parked.join().unwrap();
}

#[test]
fn a_short_sleep_in_the_poller_is_not_rounded_to_milliseconds() {
    runtime(1).run(|| {
        let (client, _server) = connection();
        client.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let _ = (&client).read(&mut [0]);
        let mut best = Duration::MAX;
        for _ in 0..50 {
            let begin = Instant::now();
            green::sleep(Duration::from_micros(100));
            best = best.min(begin.elapsed());
        }
        assert!(best >= Duration::from_micros(100));
        if !crate::help::EMULATED {
            assert!(best < Duration::from_micros(900), "{best:?}");
        }
    });
}

#[test]
fn a_descriptor_made_on_one_worker_is_used_on_others() {
    let runtime = runtime(4);
    runtime.run(|| {
        let (client, server) = connection();
        let echoing = green::spawn(move || echo(server).unwrap());
        let client = Arc::new(client);
        // Each has its own turn; the threads start wherever a worker is free.
        for turn in 0..40_u8 {
            let client = client.clone();
            let thread = green::spawn(move || {
                for _ in 0..10 {
                    (&*client).write_all(&[turn]).unwrap();
                    let mut byte = [0];
                    (&*client).read_exact(&mut byte).unwrap();
                    assert_eq!(byte, [turn]);
                }
            });
            // Let a thief have it.
            let until = Instant::now() + Duration::from_micros(50);
            while Instant::now() < until {
                std::hint::spin_loop();
            }
            thread.join().unwrap();
        }
        drop(client);
        assert_eq!(echoing.join().unwrap(), 400);
    });
}

#[test]
fn a_socket_outlives_the_runtime_that_registered_it() {
    let (client, server) = runtime(1).run(|| {
        let (client, server) = connection();
        client.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        assert!((&client).read(&mut [0]).is_err(), "registered with this worker");
        client.set_read_timeout(None).unwrap();
        (client, server)
    });
    let echoed = runtime(2).run(|| {
        let echoing = green::spawn(move || echo(server).unwrap());
        (&client).write_all(b"x").unwrap();
        (&client).read_exact(&mut [0]).unwrap();
        drop(client);
        echoing.join().unwrap()
    });
    assert_eq!(echoed, 1);
}

#[test]
fn a_thread_that_waits_at_a_worker_whose_runtime_ends_is_woken_all_the_same() {
    let first = runtime(1);
    let (client, server) = first.run(|| {
        let (client, server) = connection();
        client.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        assert!((&client).read(&mut [0]).is_err());
        client.set_read_timeout(None).unwrap();
        (client, server)
    });
    let second = runtime(1);
    // Waits in the slot that is registered with the first runtime's worker.
    let reads = second.spawn(move || (&client).read(&mut [0; 4]).unwrap());
    while second.run(|| green::spawn(green::yield_now).join()).is_err() {}
    drop(first);
    (&server).write_all(b"abc").unwrap();
    assert_eq!(reads.join().unwrap(), 3);
}

#[test]
fn dropping_a_runtime_cancels_the_threads_that_wait_for_sockets() {
    struct Count(Arc<AtomicUsize>);
    impl Drop for Count {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    for workers in [1, 3] {
        let dropped = Arc::new(AtomicUsize::new(0));
        let runtime = runtime(workers);
        let guard = || Count(dropped.clone());
        let (a, b, c, d) = (guard(), guard(), guard(), guard());
        runtime.run(move || {
            green::spawn(move || {
                let _count = a;
                let _ = TcpListener::bind("127.0.0.1:0").unwrap().accept();
            });
            green::spawn(move || {
                let _count = b;
                let (client, _server) = connection();
                let _ = (&client).read(&mut [0]);
            });
            green::spawn(move || {
                let _count = c;
                let _ = UdpSocket::bind("127.0.0.1:0").unwrap().recv(&mut [0]);
            });
            green::spawn(move || {
                let _count = d;
                let (client, _server) = connection();
                while (&client).write(&[0; 65536]).is_ok() {}
            });
            for _ in 0..10 {
                green::yield_now();
            }
        });
        drop(runtime);
        assert_eq!(dropped.load(Ordering::Relaxed), 4);
    }
}

#[test]
fn a_cancel_or_a_time_out_in_the_middle_of_a_read_loses_no_bytes() {
    everywhere(|| {
        let (client, server) = connection();
        for round in 0..20_u8 {
            let read = || {
                let mut byte = [0];
                (&server).read_exact(&mut byte).unwrap();
                byte[0]
            };
            assert!(green::timeout(Duration::from_micros(300), read).is_err());
            (&client).write_all(&[round]).unwrap();
            assert_eq!(green::timeout(LONG, read), Ok(round));
        }
        let server = Arc::new(server);
        for round in 0..20_u8 {
            let waiting = server.clone();
            let thread = green::spawn(move || (&*waiting).read(&mut [0; 8]));
            green::yield_now();
            thread.cancel();
            assert!(thread.join().unwrap_err().is::<green::Cancelled>());
            (&client).write_all(&[round]).unwrap();
            let mut byte = [0];
            (&*server).read_exact(&mut byte).unwrap();
            assert_eq!(byte, [round]);
        }
    });
}

#[test]
fn a_time_out_around_accept_and_connect_ends_them() {
    everywhere(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(green::timeout(Duration::from_millis(1), || listener.accept()).is_err());
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(listener.accept().unwrap().1, client.local_addr().unwrap());
    });
}

#[test]
fn waiting_for_a_socket_inside_no_park_panics() {
    everywhere(|| {
        let (client, _server) = connection();
        let panic = std::panic::catch_unwind(|| green::no_park(|| (&client).read(&mut [0])));
        assert!(panic.is_err());
    });
}

#[test]
fn connections_that_come_one_by_one_are_spread_over_the_workers() {
    // How many of 40 connections each worker has.
    let counts = |workers| {
        runtime(workers).run(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let addr = listener.local_addr().unwrap();
            let server = green::spawn(move || {
                let serve = |stream: std::io::Result<TcpStream>| {
                    let mut stream = stream.unwrap();
                    green::spawn(move || {
                        let on = crate::help::os_thread();
                        stream.write_all(b"x").unwrap();
                        let _ = stream.read(&mut [0]);
                        on
                    })
                };
                listener.incoming().take(40).map(serve).collect::<Vec<_>>()
            });
            // Each is served before the next one comes.
            let clients: Vec<_> = (0..40)
                .map(|_| {
                    let mut client = TcpStream::connect(addr).unwrap();
                    client.read_exact(&mut [0]).unwrap();
                    client
                })
                .collect();
            drop(clients);
            let mut counts = std::collections::HashMap::new();
            for thread in server.join().unwrap() {
                *counts.entry(thread.join().unwrap()).or_insert(0) += 1;
            }
            counts.into_values().collect::<Vec<usize>>()
        })
    };
    for workers in [2, 4] {
        // A worker that gets no CPU meanwhile has fewer.
        let tries = (0..20).map(|_| counts(workers));
        let even = |counts: &Vec<usize>| {
            counts.len() == workers && counts.iter().all(|count| (40 * 4 / 5..=40 * 6 / 5).contains(&(count * workers)))
        };
        let seen: Vec<_> = tries.collect();
        let evens = seen.iter().filter(|counts| even(counts)).count();
        eprintln!("{workers} workers: even in {evens} of {}", seen.len());
        assert!(evens >= seen.len() / 2, "even in {evens} tries: {seen:?}");
    }
}

#[test]
fn a_connection_that_is_accepted_after_all_other_workers_have_ended_stays_here() {
    struct Ended;
    impl Drop for Ended {
        fn drop(&mut self) {
            ENDED.fetch_add(1, Ordering::SeqCst);
        }
    }
    thread_local!(static WORKER: Ended = const { Ended });
    static ENDED: AtomicUsize = AtomicUsize::new(0);
    static BEGUN: AtomicUsize = AtomicUsize::new(0);

    let runtime = runtime(3);
    let (done, is_done) = mpsc::channel();
    let accepting = move || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        // One on each worker: none of them parks.
        let at_worker = || {
            WORKER.with(|_| ());
            BEGUN.fetch_add(1, Ordering::SeqCst);
            spin_until("the count", || BEGUN.load(Ordering::SeqCst) >= 3);
        };
        green::spawn(at_worker);
        green::spawn(at_worker);
        at_worker();
        green::scope(|s| {
            let (stream, _) = listener.accept().unwrap();
            // The runtime is dropped now; this thread does not notice while it does not call anything that parks.
            done.send(()).unwrap();
            spin_until("the count", || ENDED.load(Ordering::SeqCst) >= 2);
            s.spawn(move || drop(stream));
        });
    };
    drop(runtime.spawn(accepting));
    is_done.recv_timeout(LONG).unwrap();
    let (ends, has_ended) = mpsc::channel();
    std::thread::spawn(move || {
        drop(runtime);
        ends.send(()).unwrap();
    });
    has_ended.recv_timeout(LONG).unwrap();
}

#[test]
fn a_runtime_that_is_dropped_while_connections_are_handed_out_ends_with_all_of_them() {
    for round in 0..60 / crate::SCALE {
        let ended = Arc::new(AtomicUsize::new(0));
        let begun = Arc::new(AtomicUsize::new(0));
        let (counted, counting) = (ended.clone(), begun.clone());
        let server = runtime(3);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        server.spawn(move || {
            struct Count(Arc<AtomicUsize>);
            impl Drop for Count {
                fn drop(&mut self) {
                    self.0.fetch_add(1, Ordering::Relaxed);
                }
            }
            let listener = TcpListener::from(listener);
            // A scope waits for its threads, wherever they were sent.
            green::scope(|s| {
                for stream in listener.incoming() {
                    let (stream, count) = (stream.unwrap(), Count(counted.clone()));
                    counting.fetch_add(1, Ordering::Relaxed);
                    s.spawn(move || {
                        let _count = count;
                        let _ = echo(stream);
                    });
                }
            });
        });
        let clients: Vec<_> = (0..round % 20).map(|_| std::net::TcpStream::connect(addr).unwrap()).collect();
        drop(server);
        assert_eq!(ended.load(Ordering::Relaxed), begun.load(Ordering::Relaxed));
        drop(clients);
    }
}
