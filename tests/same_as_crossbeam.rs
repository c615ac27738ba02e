//! One source, compiled twice: with `crossbeam_channel` and with `green::channel`. What the arms of a select may do to the
//! handles that it borrows.
#![allow(missing_docs, unused_assignments, unused_variables, unused_mut)]

macro_rules! suite {
    ($name:ident, $channel:ident $(:: $path:ident)*) => {
        mod $name {
            use std::time::Duration;

            use $channel $(:: $path)*::{Receiver, Sender, bounded, never, select, select_biased, unbounded};

            const SHORT: Duration = Duration::from_millis(1);

            #[test]
            fn arms_may_assign_to_the_receiver_of_their_only_case() {
                let (s, mut r) = unbounded::<i32>();
                s.send(1).unwrap();
                select! { recv(r) -> message => { assert_eq!(message, Ok(1)); r = r.clone() } }
                select! { recv(r) -> _ => r = never(), default => r = r.clone() }
                select! { recv(r) -> _ => r = unbounded().1, default(SHORT) => { r = never() } }
                assert!(r.try_recv().is_err());
                drop(s);
            }

            #[test]
            fn arms_may_assign_to_the_sender_of_their_only_case() {
                let (mut s, r) = bounded::<i32>(1);
                select! { send(s, 1) -> result => { result.unwrap(); s = s.clone() } }
                select! { send(s, 2) -> _ => s = unbounded().0, default => s = s.clone() }
                select! { send(s, 3) -> _ => s = s.clone(), default(SHORT) => s = unbounded().0 }
                assert!(s.send(4).is_err());
                assert_eq!(r.recv(), Ok(1));
            }

            #[test]
            fn arms_may_assign_to_all_handles_of_a_select() {
                let (mut s1, mut r1) = unbounded::<i32>();
                let (mut s2, mut r2) = bounded::<String>(0);
                let (_full, keep) = (s2.clone(), r2.clone());
                for round in 0..6 {
                    s1.send(1).unwrap();
                    select! {
                        recv(r1) -> _ => { r1 = never(); r2 = never(); s1 = unbounded().0; s2 = unbounded().0 }
                        recv(r2) -> _ => { r2 = never(); r1 = never(); s2 = unbounded().0; s1 = unbounded().0 }
                        send(s2, String::new()) -> _ => { s2 = unbounded().0; r1 = never(); r2 = never() }
                    }
                    (s1, r1) = unbounded();
                    (s2, r2) = unbounded();
                    select! {
                        recv(r1) -> _ => r1 = never(),
                        recv(r2) -> _ => r2 = never(),
                        default => { r1 = never(); r2 = never(); s1 = unbounded().0; s2 = unbounded().0 }
                    }
                    (s1, r1) = unbounded();
                    (s2, r2) = bounded(0);
                    select_biased! {
                        recv(r1) -> _ => (s1, r1) = unbounded(),
                        send(s2, round.to_string()) -> _ => (s2, r2) = unbounded(),
                        default(SHORT) => { (s1, r1) = unbounded(); (s2, r2) = unbounded() }
                    }
                    (s1, r1) = unbounded();
                }
                drop((r2, s2, keep));
            }

            #[test]
            fn arms_may_give_the_handles_away() {
                fn one(r: Receiver<i32>, s: Sender<i32>) -> (Option<Receiver<i32>>, Option<Sender<i32>>) {
                    select! {
                        recv(r) -> _ => (Some(r), None),
                        send(s, 1) -> _ => (Some(r), Some(s)),
                        default(SHORT) => (None, Some(s)),
                    }
                }
                fn other(r: Receiver<i32>) -> Result<i32, Receiver<i32>> {
                    select! { recv(r) -> message => message.map_err(|_| r), default => Err(r) }
                }
                let (s, r) = bounded(0);
                let (r, s) = one(r, s);
                assert!(r.is_none() && s.is_some());
                let (s, r) = bounded(1);
                s.send(7).unwrap();
                assert_eq!(other(r).ok(), Some(7));
            }

            #[test]
            fn arms_may_assign_through_a_reference_and_in_a_loop() {
                struct Peer { from: Receiver<i32>, to: Sender<i32> }
                fn pump(peers: &mut [Peer], rounds: i32) -> i32 {
                    let mut got = 0;
                    for round in 0..rounds {
                        let peer = &mut peers[0];
                        select! {
                            recv(peer.from) -> message => match message {
                                Ok(n) => got += n,
                                Err(_) => peer.from = never(),
                            },
                            send(peer.to, round) -> result => {
                                if result.is_err() {
                                    let (to, from) = unbounded();
                                    *peer = Peer { from, to };
                                }
                            }
                            default(SHORT) => { peers[0].from = never(); break }
                        }
                    }
                    got
                }
                let (s, r) = unbounded();
                s.send(5).unwrap();
                drop(s);
                let mut peers = [Peer { from: r, to: bounded(0).0 }];
                // The receiver that such a Peer is given last is one of its own sender.
                assert!(pump(&mut peers, 1000) >= 5);
            }
        }
    };
}

suite!(with_crossbeam, crossbeam_channel);
suite!(with_green, green::channel);
