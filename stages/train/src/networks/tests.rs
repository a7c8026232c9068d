//! Every network: its size, how its weights start, and its logits against an independent implementation.

use rematch_spec::network::{Cnn13 as Cnn13Size, Network as Spec, Res18 as Res18Size};
use rematch_spec::network::{Resnet as ResnetSize, Shake as ShakeSize, Start, Wrn as WrnSize};
use tch::{Device, Kind, Tensor};

use super::*;
use crate::batch_norm::Bn;
use crate::network::{Compute, Init, Network, Role, Variable};

fn shape(height: i64, width: i64, classes: i64) -> Shape {
    Shape {
        channels: 3,
        height,
        width,
        classes,
    }
}

fn network(spec: &Spec, shape: Shape) -> Network {
    Network::new(spec, shape, 1, Compute::on(Device::Cpu), &[])
}

/// Standard deviation of a layer's weights, and the furthest that they go.
fn spread(init: Init, kernel: &[i64]) -> (f64, f64) {
    let places: i64 = kernel[2..].iter().product();
    let (inputs, outputs) = ((kernel[1] * places) as f64, (kernel[0] * places) as f64);
    let glorot = (2.0 / (inputs + outputs)).sqrt();
    let (cut, uniform) = (2.0 / 0.8796, 3_f64.sqrt());
    match init {
        Init::TensorFlow => (glorot, cut * glorot),
        Init::Xavier => (glorot, f64::INFINITY),
        Init::Glorot => (glorot, uniform * glorot),
        Init::PyTorch => ((1.0 / (3.0 * inputs)).sqrt(), (1.0 / inputs).sqrt()),
        Init::FanOut => ((2.0 / outputs).sqrt(), f64::INFINITY),
        Init::He => ((2.0 / inputs).sqrt(), cut * (2.0 / inputs).sqrt()),
        Init::Small => (0.01, f64::INFINITY),
    }
}

/// At 10 classes and 32×32 pixels the network has so many parameters, as many features as `features` says,
/// and weights that start as published: those of convolutions, and the classifier's.
fn is_as_published(spec: &Spec, parameters: i64, convolutions: Init, classifier: Init) {
    let shape = shape(32, 32, 10);
    let network = network(spec, shape);
    assert_eq!(network.parameters(), parameters);
    assert_eq!(
        network.classifier_weight().size(),
        [10, features(spec, shape)]
    );
    let mut last = (Init::Small, Vec::new());
    for Variable { name, tensor, role } in network.variables() {
        if *role == Role::Kernel {
            let init = if name.starts_with("classifier") {
                classifier
            } else {
                convolutions
            };
            last = (init, tensor.size());
        }
        let (layer, _) = name.rsplit_once('.').unwrap();
        let statistic = format!("{layer}.running_mean");
        let normalises = network.variables().iter().any(|v| v.name == statistic);
        let (expected, most, mean) = match role {
            Role::Kernel => {
                let (spread, most) = spread(last.0, &last.1);
                (spread, most, 0.0)
            }
            Role::Offset if !normalises && last.0 == Init::PyTorch => {
                let (spread, most) = spread(last.0, &last.1);
                (spread, most, 0.0)
            }
            _ if name.ends_with("weight") || name.ends_with("running_var") => (0.0, 1.0, 1.0),
            _ => (0.0, 0.0, 0.0),
        };
        let count = tensor.numel() as f64;
        let found = tensor.std(false).double_value(&[]);
        // Five standard deviations of a standard deviation, and of a mean.
        let room = 5.0 * expected / (2.0 * count).sqrt();
        assert!(
            (found - expected).abs() <= room,
            "{name}: {found}, expected {expected}"
        );
        let found = tensor.mean(Kind::Float).double_value(&[]);
        let room = 5.0 * expected / count.sqrt() + 1e-6;
        assert!(
            (found - mean).abs() <= room,
            "{name}: mean {found}, expected {mean}"
        );
        let found = tensor.abs().max().double_value(&[]);
        assert!(
            found <= most * 1.0001,
            "{name}: {found}, expected at most {most}"
        );
    }
}

#[test]
fn resnet_is_as_published() {
    let spec = Spec::Resnet(ResnetSize::default());
    is_as_published(&spec, 1_469_642, Init::FanOut, Init::TensorFlow);
}

#[test]
fn wrn_is_as_published() {
    let ports = Spec::Wrn(WrnSize::default());
    is_as_published(&ports, 1_467_610, Init::FanOut, Init::Xavier);
    let featmatch = Spec::Wrn(WrnSize {
        slope: 0.0,
        classifier: Start::Pytorch,
        ..WrnSize::default()
    });
    // spec/featmatch.md 5 counts the body.
    is_as_published(
        &featmatch,
        1_466_320 + 129 * 10,
        Init::FanOut,
        Init::PyTorch,
    );
}

#[test]
fn cnn13_is_as_published() {
    // Not in the specification; tests/reference/networks.py counts it.
    let fixmatch = Spec::Cnn13(Cnn13Size::default());
    is_as_published(&fixmatch, 197_290, Init::Glorot, Init::Glorot);
    let featmatch = Spec::Cnn13(Cnn13Size {
        filters: 128,
        norm_first: true,
    });
    is_as_published(
        &featmatch,
        3_122_560 + 129 * 10,
        Init::PyTorch,
        Init::PyTorch,
    );
}

#[test]
fn shake_is_as_published() {
    // Not in the specification; tests/reference/networks.py counts it.
    let spec = Spec::Shake(ShakeSize::default());
    is_as_published(&spec, 2_923_130, Init::FanOut, Init::TensorFlow);
}

#[test]
fn res18_is_as_published() {
    let spec = Spec::Res18(Res18Size::default());
    is_as_published(&spec, 11_184_778, Init::FanOut, Init::TensorFlow);
    let spec = Spec::Res18(Res18Size {
        filters: 32,
        ..Res18Size::default()
    });
    is_as_published(&spec, 2_803_018, Init::FanOut, Init::TensorFlow);
}

#[test]
fn resnet18_is_as_published() {
    let spec = Spec::Resnet18(rematch_spec::network::Resnet18 {});
    is_as_published(&spec, 11_176_512 + 513 * 10, Init::FanOut, Init::PyTorch);
}

#[test]
fn resnet50_is_as_published() {
    let spec = Spec::Resnet50(rematch_spec::network::Resnet50 {});
    is_as_published(&spec, 23_508_032 + 2049 * 10, Init::He, Init::Small);
}

/// base + scale·sin(j²/1000 + phase), j = 1, 2 …; the phase is the sum of the name's bytes mod 97.
fn wave(name: &str, size: &[i64], base: f64, scale: f64) -> Tensor {
    let j = Tensor::arange(size.iter().product::<i64>(), (Kind::Double, Device::Cpu)) + 1.0;
    let phase = f64::from(name.bytes().map(u32::from).sum::<u32>() % 97);
    let values = (&j * &j / 1000.0 + phase).sin() * scale + base;
    values.view(size).to_kind(Kind::Float)
}

/// Gives every variable the wave of its name, or of what `rename` makes of it.
fn fill(network: &Network, rename: impl Fn(&str) -> String) {
    tch::no_grad(|| {
        for Variable { name, tensor, role } in network.variables() {
            let size = tensor.size();
            let (base, scale) = match role {
                Role::Kernel => {
                    let inputs: i64 = size[1..].iter().product();
                    (0.0, 2.0 / (inputs as f64).sqrt())
                }
                _ if name.ends_with("weight") || name.ends_with("var") => (1.0, 0.3),
                _ => (0.0, 0.3),
            };
            tensor
                .shallow_clone()
                .copy_(&wave(&rename(name), &size, base, scale));
        }
    });
}

/// Of three images, two classes.
struct Logits {
    training: [f64; 6],
    evaluation: [f64; 6],
}

// Made by tests/reference/networks.py.
const RESNET: Logits = Logits {
    training: [
        0.36300406,
        -0.70003075,
        -0.03147999,
        -0.36336593,
        -0.12074504,
        -0.33576483,
    ],
    evaluation: [
        39.48581365,
        -23.11004531,
        1.83507580,
        -1.94408540,
        3.99685755,
        -2.65333380,
    ],
};

const WRN: Logits = Logits {
    training: [
        1.44754595,
        -1.36000815,
        0.88002719,
        -0.82433417,
        0.96333349,
        -0.87342420,
    ],
    evaluation: [
        37.34368855,
        -37.53518037,
        1.09661625,
        -1.60414137,
        2.66194658,
        -2.94771454,
    ],
};

const WRN_PREACTIVATED: Logits = Logits {
    training: [
        1.88438806,
        -1.47420337,
        0.74765736,
        -0.82283699,
        0.86740564,
        -0.88066027,
    ],
    evaluation: [
        79.59931086,
        -50.04419141,
        3.99126700,
        -3.15283828,
        7.75640031,
        -4.77529497,
    ],
};

const CNN13: Logits = Logits {
    training: [
        0.71658632,
        0.63535350,
        1.54625268,
        1.40019152,
        -1.73387841,
        -1.61434187,
    ],
    evaluation: [
        -1.28325298,
        -1.20583820,
        -1.13466304,
        -1.06808873,
        -1.27056978,
        -1.19415276,
    ],
};

const CNN13_NORM_FIRST: Logits = Logits {
    training: [
        1.12087034, 0.65367838, 0.73199995, 0.41060343, 1.38273950, 0.84510854,
    ],
    evaluation: [
        0.50960077, 0.27045759, 0.41629955, 0.20900583, 0.70530382, 0.39285801,
    ],
};

const SHAKE_TWINS: Logits = Logits {
    training: [
        -0.73600684,
        -0.68640195,
        1.96836082,
        -1.08443474,
        1.84150723,
        -1.27866990,
    ],
    evaluation: [
        -53.97654494,
        0.37784014,
        -18.30649603,
        -2.01031402,
        -17.22479743,
        -1.29416374,
    ],
};

const RES18: Logits = Logits {
    training: [
        -0.15880910,
        -1.50206126,
        -0.23335845,
        -1.23385327,
        -0.30046138,
        -0.62416113,
    ],
    evaluation: [
        125.48264727,
        -624.79751936,
        94.61914114,
        -460.41858247,
        120.01146144,
        -601.18286908,
    ],
};

const RESNET18: Logits = Logits {
    training: [
        -0.23137634,
        -5.67992886,
        0.04256571,
        -6.69299578,
        -0.05539839,
        -4.33358212,
    ],
    evaluation: [
        898.60338440,
        -6259.79632349,
        785.75913934,
        -5510.12196007,
        1074.15513216,
        -7651.20111621,
    ],
};

const RESNET50: Logits = Logits {
    training: [
        -6.43764726,
        -1.16214424,
        -9.31051548,
        1.05231578,
        -4.77436790,
        1.48967932,
    ],
    evaluation: [
        -1220.05779270,
        -137.33184555,
        -894.25420802,
        -155.91837838,
        -1574.28569406,
        -247.00895276,
    ],
};

const SHAKE_EVALUATION: [f64; 6] = [
    -48.87277445,
    -0.40500974,
    -19.80390554,
    0.07316349,
    -24.52377508,
    -0.40656073,
];

/// Within 1e-5 of the largest.
fn same(found: &Tensor, expected: &[f64]) {
    let found = Vec::<f32>::try_from(found.flatten(0, -1)).unwrap();
    let most = expected.iter().fold(0.0_f64, |most, v| most.max(v.abs()));
    for (a, b) in found.iter().zip(expected) {
        let off = (f64::from(*a) - b).abs() / most;
        assert!(off < 1e-5, "{off:.1e}: {found:?}, expected {expected:?}");
    }
}

fn images(height: i64, width: i64) -> Tensor {
    wave("images", &[3, 3, height, width], 0.0, 1.0)
}

/// A pass that trains, then one that evaluates with the running statistics that it left.
fn computes(network: &Network, [height, width]: [i64; 2], expected: &Logits) {
    let x = images(height, width);
    same(&network.logits(&x, Bn::Update), &expected.training);
    same(&network.logits(&x, Bn::Eval), &expected.evaluation);
}

fn filled(spec: &Spec, [height, width]: [i64; 2]) -> Network {
    let network = network(spec, shape(height, width, 2));
    fill(&network, str::to_owned);
    network
}

fn resnet_size() -> ResnetSize {
    ResnetSize {
        filters: 4,
        repeat: 2,
        scales: 3,
        bn_momentum: 0.9,
    }
}

fn wrn_size() -> WrnSize {
    WrnSize {
        filters: 4,
        repeat: 2,
        bn_momentum: 0.9,
        ..WrnSize::default()
    }
}

fn shake_size() -> ShakeSize {
    ShakeSize {
        filters: 4,
        repeat: 2,
        scales: 3,
        bn_momentum: 0.9,
    }
}

#[test]
fn resnet_computes_the_references_logits() {
    let at = [18, 14];
    computes(&filled(&Spec::Resnet(resnet_size()), at), at, &RESNET);
}

#[test]
fn wrn_computes_the_references_logits() {
    let at = [18, 14];
    computes(&filled(&Spec::Wrn(wrn_size()), at), at, &WRN);
    let preactivated = WrnSize {
        slope: 0.0,
        preactivate: true,
        ..wrn_size()
    };
    computes(&filled(&Spec::Wrn(preactivated), at), at, &WRN_PREACTIVATED);
}

#[test]
fn cnn13_computes_the_references_logits() {
    let at = [16, 20];
    let size = |filters, norm_first| {
        Spec::Cnn13(Cnn13Size {
            filters,
            norm_first,
        })
    };
    computes(&filled(&size(4, false), at), at, &CNN13);
    computes(&filled(&size(8, true), at), at, &CNN13_NORM_FIRST);
}

#[test]
fn shake_computes_the_references_logits() {
    let at = [16, 12];
    let network = filled(&Spec::Shake(shake_size()), at);
    same(
        &network.logits(&images(16, 12), Bn::Eval),
        &SHAKE_EVALUATION,
    );
    // Of two branches that are the same, every mix is.
    fill(&network, |name| name.replace("branches.1", "branches.0"));
    computes(&network, at, &SHAKE_TWINS);
}

#[test]
fn res18_computes_the_references_logits() {
    let at = [40, 36];
    let spec = Spec::Res18(Res18Size {
        filters: 4,
        bn_momentum: 0.9,
    });
    computes(&filled(&spec, at), at, &RES18);
}

#[test]
fn resnet18_computes_the_references_logits() {
    let network = Network::with_body(1, Compute::on(Device::Cpu), 2, &[], |builder| {
        Box::new(Resnet18::new(builder, 4, shape(40, 36, 2)))
    });
    fill(&network, str::to_owned);
    computes(&network, [40, 36], &RESNET18);
}

#[test]
fn resnet50_computes_the_references_logits() {
    let network = Network::with_body(1, Compute::on(Device::Cpu), 2, &[], |builder| {
        Box::new(Resnet50::new(builder, 4, shape(40, 36, 2)))
    });
    fill(&network, str::to_owned);
    // 53 batch norms over few pixels widen float32's rounding to 1e-5; double precision tells it from
    // another formula.
    for variable in network.variables() {
        if !variable.name.starts_with("classifier") {
            let double = variable.tensor.to_kind(Kind::Double);
            variable.tensor.shallow_clone().set_data(&double.detach());
        }
    }
    let x = images(40, 36).to_kind(Kind::Double);
    same(&network.logits(&x, Bn::Update), &RESNET50.training);
    same(&network.logits(&x, Bn::Eval), &RESNET50.evaluation);
}

#[test]
fn what_the_ports_throw_away_still_moves_and_never_learns() {
    let network = filled(&Spec::Wrn(wrn_size()), [16, 16]);
    let named = |name: &str| {
        let mut all = network.variables().iter();
        all.find(|v| v.name == name).unwrap().tensor.shallow_clone()
    };
    let before = named("groups.1.0.bn1.running_mean").copy();
    network
        .logits(&images(16, 16), Bn::Update)
        .sum(Kind::Float)
        .backward();
    let learns = |name: &str| crate::shim::has_gradient(&named(name));
    assert!(!learns("groups.1.0.bn1.weight") && !learns("groups.2.0.bn1.bias"));
    assert!(learns("groups.0.0.bn1.weight") && learns("groups.1.1.bn1.weight"));
    let after = named("groups.1.0.bn1.running_mean").copy();
    assert_ne!(before, after);
    let _ = network.logits(&images(16, 16), Bn::Observe);
    let _ = network.logits(&images(16, 16), Bn::Eval);
    assert_eq!(after, named("groups.1.0.bn1.running_mean"));
}

#[test]
fn images_that_a_network_cannot_take_are_refused() {
    let refuses = |spec: &Spec, height, width| {
        let error = check(spec, shape(height, width, 2)).unwrap_err().failure();
        assert!(error.help.is_some(), "{error}");
        error.message
    };
    let cnn13 = Spec::Cnn13(Cnn13Size::default());
    assert!(refuses(&cnn13, 12, 11).contains("12×12 pixels and more, these have 12×11"));
    let shake = Spec::Shake(ShakeSize::default());
    // 84 pixels ask for five stages, and 21 are odd.
    assert!(refuses(&shake, 84, 84).contains("halves the image 4 times"));
    let res18 = Spec::Res18(Res18Size::default());
    assert!(refuses(&res18, 2, 8).contains("3×3 pixels and more"));
    let least = |spec: Spec, side| {
        check(&spec, shape(side, side, 2)).unwrap();
        let network = network(&spec, shape(side, side, 2));
        let x = Tensor::zeros([2, 3, side, side], (Kind::Float, Device::Cpu));
        assert_eq!(network.logits(&x, Bn::Eval).size(), [2, 2]);
    };
    let narrow = Cnn13Size {
        filters: 4,
        norm_first: false,
    };
    least(Spec::Cnn13(narrow), 12);
    let narrow = Res18Size {
        filters: 4,
        ..Res18Size::default()
    };
    least(Spec::Res18(narrow), 3);
    least(Spec::Shake(shake_size()), 4);
    least(Spec::Wrn(wrn_size()), 1);
    least(Spec::Resnet(resnet_size()), 1);
}
