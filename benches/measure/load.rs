//! Load: many requests at once for a while, or one after the other.

use std::future::Future;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};

/// How long one side of a comparison runs before it is the other's turn, and how often.
const TURN: Duration = Duration::from_millis(1_500);
const ROUNDS: usize = 3;

pub struct Load {
    in_flight: usize,
}

/// What a run of a load came to.
pub struct Ran {
    pub count: usize,
    elapsed: Duration,
}

impl Ran {
    pub fn per_second(&self) -> f64 {
        self.count as f64 / self.elapsed.as_secs_f64()
    }
}

impl Load {
    pub fn new(in_flight: usize) -> Self {
        Self { in_flight }
    }

    /// Keeps requests in flight for one turn. They are polled by one task: the load must cost as little as it can.
    pub async fn run<F: Future<Output = ()>>(&self, request: impl Fn() -> F) -> Ran {
        let started = Instant::now();
        let mut going_on: FuturesUnordered<F> = (0..self.in_flight).map(|_| request()).collect();
        let mut count = 0;
        while going_on.next().await.is_some() {
            count += 1;
            if started.elapsed() < TURN {
                going_on.push(request());
            }
        }
        Ran {
            count,
            elapsed: started.elapsed(),
        }
    }

    /// Requests per second of the first over those of the second: the median of rounds that take turns.
    pub async fn ratio<A, B>(&self, first: impl Fn() -> A, second: impl Fn() -> B) -> f64
    where
        A: Future<Output = ()>,
        B: Future<Output = ()>,
    {
        let mut ratios = Vec::new();
        for round in 0..=ROUNDS {
            let (one, two) = (
                self.run(&first).await.per_second(),
                self.run(&second).await.per_second(),
            );
            // The first round only warms up.
            if round > 0 {
                println!("    {one:.0}/s against {two:.0}/s");
                ratios.push(one / two);
            }
        }
        median(ratios)
    }
}

/// The median times of requests that take turns, one after the other, in milliseconds.
pub async fn latencies<'a, const N: usize>(
    count: usize,
    requests: [&dyn Fn() -> BoxFuture<'a, ()>; N],
) -> [f64; N] {
    let mut times = [const { Vec::new() }; N];
    for index in 0..count + count / 10 {
        for (times, request) in times.iter_mut().zip(requests) {
            let started = Instant::now();
            request().await;
            if index >= count / 10 {
                times.push(started.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    times.map(median)
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
