//! YAML text to values with places.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use rematch::source::Source;
use rematch::yaml::Node;

fuzz_target!(|text: &str| {
    let source = Arc::new(Source {
        path: "p.yaml".into(),
        text: text.to_owned(),
    });
    match Node::parse(&source) {
        Ok(node) => {
            look(&node);
            let _ = node.to_json();
            for path in ["", "a", "a.b", "a[0].b", "stages.train[3]", "..[[]]"] {
                let _ = node.locate(path).to_string();
            }
        }
        Err(error) => drop(error.to_string()),
    }
});

fn look(node: &Node) {
    assert!(node.place.line > 0 && node.place.column > 0 && node.place.length > 0);
    // Showing a place looks through the whole text for it.
    if node.place.source.text.len() < 256 {
        let _ = node.place.within("${").to_string();
    }
    node.items().iter().for_each(look);
    for (key, node) in node.members() {
        assert!(key.place.line > 0 && key.place.column > 0);
        look(node);
    }
}
