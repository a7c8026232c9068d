//! Attention over prototypes, which refines features (spec/featmatch.md 5).

use tch::{Kind, Tensor};

use crate::network::{Head, Init, Network};

/// Names of the layers, as the original's checkpoints have them: for each of the four heads a shared
/// embedding and a layer that joins what was attended to with one's own.
const HEADS: [(&str, &str); 4] = [
    ("atten.embd0", "atten.fc0"),
    ("atten.embd1", "atten.fc1"),
    ("atten.embd2", "atten.fc2"),
    ("atten.embd3", "atten.fc3"),
];
const OUT: &str = "atten.fc";
/// Share of the attention that is dropped in training.
pub const DROPOUT: f64 = 0.1;

/// The layers for features of that width.
pub fn heads(features: i64) -> Vec<Head> {
    let count = HEADS.len() as i64;
    let width = (features / count).max(1);
    let head = |name, inputs, outputs| Head {
        name,
        inputs,
        outputs,
        init: Init::PyTorch,
    };
    let embed = HEADS.map(|(embed, _)| head(embed, features, width));
    let join = HEADS.map(|(_, join)| head(join, 2 * width, width));
    let out = [head(OUT, count * width, features)];
    embed.into_iter().chain(join).chain(out).collect()
}

/// Features N×D refined by prototypes M×D, of which those count where `there` is true: F′. `dropout` is
/// the share of the attention that is dropped; 0 once trained.
pub fn refine(
    network: &Network,
    features: &Tensor,
    prototypes: &Tensor,
    there: &Tensor,
    dropout: f64,
) -> Tensor {
    let absent = there.logical_not();
    let heads = HEADS.map(|(embed, join)| {
        let own = network.head(embed, features);
        let theirs = network.head(embed, prototypes);
        let width = own.size()[1] as f64;
        let attention = (own.matmul(&theirs.tr()) / width.sqrt())
            .masked_fill(&absent, f64::NEG_INFINITY)
            .softmax(-1, Kind::Float)
            .dropout(dropout, dropout > 0.0);
        let both = Tensor::cat(&[attention.matmul(&theirs), own], 1);
        network.head(join, &both).relu()
    });
    (features + network.head(OUT, &Tensor::cat(&heads, 1))).relu()
}
