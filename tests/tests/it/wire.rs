//! What goes over the wire: the numbers and types of all fields, as tables in `testdata/wire`, and
//! whole messages, byte by byte, in `testdata/wire/golden`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use forerunner_proto::DESCRIPTORS;
use forerunner_tests::checkout;
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// Fields from here on are our own; others skip them.
const OWN_FIELDS_FROM: i32 = 100;

fn tables() -> PathBuf {
    checkout().join("testdata/wire")
}

/// What the compiled protocols say, in the lines of the tables.
#[derive(Default)]
struct Spoken {
    lines: BTreeSet<String>,
    /// Entry types of maps, as the tables write them.
    maps: BTreeMap<String, String>,
}

impl Spoken {
    fn new() -> Self {
        let set = FileDescriptorSet::decode(DESCRIPTORS).expect("descriptors");
        let mut spoken = Self::default();
        for file in &set.file {
            for message in &file.message_type {
                spoken.add_maps(file.package(), message);
            }
        }
        for file in &set.file {
            for message in &file.message_type {
                spoken.add_message(file.package(), message);
            }
            for values in &file.enum_type {
                spoken.add_enum(file.package(), values);
            }
            for service in &file.service {
                for method in &service.method {
                    let count = |stream| if stream { "stream" } else { "one" };
                    spoken.lines.insert(format!(
                        "method {}.{} {} {} {} -> {} {}",
                        file.package(),
                        service.name(),
                        method.name(),
                        count(method.client_streaming()),
                        absolute(method.input_type()),
                        count(method.server_streaming()),
                        absolute(method.output_type()),
                    ));
                }
            }
        }
        spoken
    }

    fn add_maps(&mut self, scope: &str, message: &DescriptorProto) {
        let name = format!("{scope}.{}", message.name());
        if message.options.as_ref().is_some_and(prost_types::MessageOptions::map_entry) {
            let part = |number| {
                let field = message.field.iter().find(|field| field.number() == number);
                self.type_of(field.expect("a key and a value"))
            };
            let written = format!("map<{},{}>", part(1), part(2));
            self.maps.insert(name, written);
            return;
        }
        for nested in &message.nested_type {
            self.add_maps(&name, nested);
        }
    }

    fn add_message(&mut self, scope: &str, message: &DescriptorProto) {
        let name = format!("{scope}.{}", message.name());
        if self.maps.contains_key(&name) {
            return;
        }
        self.lines.insert(format!("message {name}"));
        for field in &message.field {
            let kind = self.type_of(field);
            let repeated = field.label() == Label::Repeated && !kind.starts_with("map<");
            self.lines.insert(format!(
                "field {name} {} {} {kind} {}",
                field.number(),
                if repeated { "repeated" } else { "optional" },
                field.name(),
            ));
        }
        for nested in &message.nested_type {
            self.add_message(&name, nested);
        }
        for values in &message.enum_type {
            self.add_enum(&name, values);
        }
    }

    fn add_enum(&mut self, scope: &str, values: &EnumDescriptorProto) {
        for value in &values.value {
            let line =
                format!("value {scope}.{} {} {}", values.name(), value.number(), value.name());
            self.lines.insert(line);
        }
    }

    fn type_of(&self, field: &FieldDescriptorProto) -> String {
        match field.r#type() {
            Type::Message | Type::Enum => {
                let name = absolute(field.type_name());
                self.maps.get(name).map_or_else(|| name.to_owned(), Clone::clone)
            }
            scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_ascii_lowercase(),
        }
    }
}

fn absolute(name: &str) -> &str {
    name.strip_prefix('.').unwrap_or(name)
}

fn written() -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for entry in std::fs::read_dir(tables()).expect("testdata/wire") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            let text = std::fs::read_to_string(&path).expect("readable");
            lines.extend(text.lines().map(str::to_owned));
        }
    }
    assert!(lines.len() > 600, "the tables were not found");
    lines
}

#[test]
fn every_field_has_its_number_and_type() {
    let spoken = Spoken::new();
    let missing: Vec<String> = written().difference(&spoken.lines).cloned().collect();
    assert!(missing.is_empty(), "in the tables, not in proto/defs:\n{}", missing.join("\n"));
}

/// What the tables do not have is ours, and numbered so that nobody takes it for anything else.
#[test]
fn own_fields_are_out_of_the_way() {
    let written = written();
    let is_known = |message: &str| written.contains(&format!("message {message}"));
    for line in Spoken::new().lines.difference(&written) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["field", message, number, ..] if is_known(message) => {
                let number: i32 = number.parse().expect("a number");
                assert!(number >= OWN_FIELDS_FROM, "{line}");
            }
            ["value", name, ..] => {
                let extended =
                    written.iter().any(|line| line.starts_with(&format!("value {name} ")));
                assert!(!extended, "{line}");
            }
            ["method", name, ..] => {
                let extended =
                    written.iter().any(|line| line.starts_with(&format!("method {name} ")));
                assert!(!extended, "{line}");
            }
            _ => {}
        }
    }
}

/// The bytes of a golden file: pairs of hexadecimal digits and quoted text; `#` begins a comment.
pub(crate) fn golden_bytes(name: &str) -> Vec<u8> {
    let path = tables().join("golden").join(format!("{name}.txt"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut bytes = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, '"');
        let hex = parts.next().unwrap_or_default();
        let quoted = parts.next();
        for pair in hex.split('#').next().unwrap_or_default().split_whitespace() {
            bytes.push(u8::from_str_radix(pair, 16).expect("two digits"));
        }
        if let Some(quoted) = quoted.filter(|_| !hex.contains('#')) {
            bytes.extend_from_slice(quoted.as_bytes());
        }
    }
    bytes
}
