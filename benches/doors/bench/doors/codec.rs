//! What JSON costs: read into the wire format and printed from it, by tables, by a dynamic message, by generated serde.

use std::hint::black_box;
use std::time::{Duration, Instant};

use assistd_doors::api::transcode::decode::{self, Unknown};
use assistd_doors::api::transcode::print;
use assistd_doors::api::transcode::schema::{MessageId, Schema};
use assistd_doors::echo::{DESCRIPTORS, large, pb, small};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};

use super::figures::{Figures, Goal};
use super::load::median;

/// How long one way works before it is the next one's turn, and how often.
const TURN: Duration = Duration::from_millis(100);
const ROUNDS: usize = 9;

/// The same message in both forms.
struct Forms {
    json: String,
    wire: Vec<u8>,
}

struct Ways {
    schema: Schema,
    id: MessageId,
    descriptor: MessageDescriptor,
}

pub fn measure(figures: &mut Figures) {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let descriptor = pool.get_message_by_name("echo.v1.Message").unwrap();
    let schema = Schema::new(&pool);
    let id = schema.find("echo.v1.Message").unwrap();
    let ways = Ways {
        schema,
        id,
        descriptor,
    };
    let names = [
        [
            "JSON to wire, small: by tables",
            "JSON to wire, small: DynamicMessage",
            "JSON to wire, small: pbjson",
            "wire to JSON, small: by tables",
            "wire to JSON, small: DynamicMessage",
            "wire to JSON, small: pbjson",
        ],
        [
            "JSON to wire, 64 KiB: by tables",
            "JSON to wire, 64 KiB: DynamicMessage",
            "JSON to wire, 64 KiB: pbjson",
            "wire to JSON, 64 KiB: by tables",
            "wire to JSON, 64 KiB: DynamicMessage",
            "wire to JSON, 64 KiB: pbjson",
        ],
    ];
    for (names, message) in names.into_iter().zip([small(), large()]) {
        let forms = Forms {
            json: serde_json::to_string(&message).unwrap(),
            wire: message.encode_to_vec(),
        };
        for (name, nanoseconds) in names.into_iter().zip(ways.each(&forms)) {
            figures.add(name, nanoseconds, "ns", Goal::None);
        }
    }
}

impl Ways {
    /// Nanoseconds of each way, the median of turns that alternate.
    fn each(&self, forms: &Forms) -> [f64; 6] {
        let ways: [&dyn Fn(&Forms) -> usize; 6] = [
            &|forms| self.read_by_tables(forms),
            &|forms| self.read_dynamically(forms),
            &|forms| {
                let message: pb::Message = serde_json::from_str(&forms.json).unwrap();
                message.encode_to_vec().len()
            },
            &|forms| self.print_by_tables(forms),
            &|forms| self.print_dynamically(forms),
            &|forms| {
                let message = pb::Message::decode(&*forms.wire).unwrap();
                serde_json::to_vec(&message).unwrap().len()
            },
        ];
        let mut times = [const { Vec::new() }; 6];
        for _ in 0..ROUNDS {
            for (way, times) in ways.iter().zip(&mut times) {
                let (started, mut count) = (Instant::now(), 0);
                while started.elapsed() < TURN {
                    for _ in 0..16 {
                        assert!(black_box(way(black_box(forms))) > 0);
                    }
                    count += 16;
                }
                times.push(started.elapsed().as_nanos() as f64 / f64::from(count));
            }
        }
        times.map(median)
    }

    fn read_by_tables(&self, forms: &Forms) -> usize {
        let mut wire = Vec::with_capacity(forms.json.len());
        decode::message(&self.schema, self.id, &forms.json, Unknown::Refuse, &mut wire).unwrap();
        wire.len()
    }

    fn print_by_tables(&self, forms: &Forms) -> usize {
        let mut json = Vec::with_capacity(forms.wire.len() * 2 + 64);
        print::message(&self.schema, self.id, &forms.wire, &mut json).unwrap();
        json.len()
    }

    fn read_dynamically(&self, forms: &Forms) -> usize {
        let mut json = serde_json::Deserializer::from_str(&forms.json);
        let message = DynamicMessage::deserialize(self.descriptor.clone(), &mut json).unwrap();
        message.encode_to_vec().len()
    }

    fn print_dynamically(&self, forms: &Forms) -> usize {
        let message = DynamicMessage::decode(self.descriptor.clone(), &*forms.wire).unwrap();
        let mut json = Vec::with_capacity(forms.wire.len() * 2 + 64);
        let options = SerializeOptions::new().skip_default_fields(false);
        message
            .serialize_with_options(&mut serde_json::Serializer::new(&mut json), &options)
            .unwrap();
        json.len()
    }
}
