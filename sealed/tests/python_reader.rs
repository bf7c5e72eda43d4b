//! The formats are documented well enough: a reader written in Python from `docs/formats/` alone opens what is
//! sealed here, and refuses what is refused here.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use common::Supplier;
use der::pem::{LineEnding, encode_string};
use kaibiao_protocol::{ids::LotNo, money::Price, record::BidSheet};
use kaibiao_sealed::{
    key::BidKey,
    package::{DocumentKind, NewDocument, NewLot, Package, Packing, pack},
    practice::SoftKey,
    wrap::WrapAlgorithm,
    writer::{ClearPart, Sealing},
};
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Python with the package `cryptography`; without it the tests fail rather than prove nothing.
fn python(script: &str) -> Command {
    let program = std::env::var_os("KAIBIAO_PYTHON").unwrap_or("python3".into());
    let ready = Command::new(&program).args(["-c", "import cryptography"]).output();
    assert!(
        ready.is_ok_and(|output| output.status.success()),
        "{} has no package `cryptography`: run scripts/setup --for-tests, \
         then set KAIBIAO_PYTHON to target/python/bin/python (scripts/test does both)",
        program.display(),
    );
    let mut command = Command::new(program);
    command.arg("-B").arg(root().join("tests/python").join(script));
    command
}

fn read(file: &Path, key: [&str; 2]) -> Output {
    python("read_sealed_bid.py").arg(file).args(key).output().unwrap()
}

fn refused(output: &Output, code: &str) {
    assert_eq!(String::from_utf8_lossy(&output.stderr).trim(), format!("refused: {code}"));
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
}

/// A bid package with two lots, one of them larger than a chunk.
fn package(folder: &Path) -> Package {
    let document = |name: &str, bytes: usize| {
        let path = folder.join(name);
        let mut content = b"%PDF-1.7\n".to_vec();
        content.resize(bytes, b'x');
        fs::write(&path, content).unwrap();
        NewDocument { kind: DocumentKind::Other, title: format!("附件 \"{name}\""), path }
    };
    let lot = |price: Price, bytes| NewLot {
        sheet: BidSheet {
            price,
            delivery_or_lead: "张三".into(),
            bid_security_method: "银行保函".into(),
            declaration_signed: true,
            remark: "含运费\\安装".into(),
        },
        documents: vec![document(&format!("{bytes}.pdf"), bytes)],
    };
    let packing = Packing {
        project: "KX-00823".parse().unwrap(),
        supplier: "mingde".parse().unwrap(),
        common: vec![document("one.pdf", 100), document("two.pdf", 3_000)],
        lots: BTreeMap::from([
            (LotNo::new(1).unwrap(), lot(Price::Total("1180000.00".parse().unwrap()), 2_000)),
            (LotNo::new(17).unwrap(), lot(Price::Rate("95.50".parse().unwrap()), 1_000_000)),
        ]),
    };
    pack(&packing, &folder.join("bid.bfbs"), &mut |_, _| ()).unwrap()
}

fn seal(package: &Package, wrap: WrapAlgorithm, to: &Path) -> BidKey {
    let supplier = Supplier::get();
    let (binding, key) = supplier.bind(&[1, 17], wrap);
    let sealing =
        Sealing { binding: &binding, key: &key, signing_certificate: &supplier.signing_certificate };
    let parts = package.parts().map(|place| ClearPart {
        part: place.part,
        bytes: place.len,
        source: Box::new(package.part_bytes(place.part).unwrap().reader()),
    });
    let mut out = fs::File::create(to).unwrap();
    let mut sign = |bytes: &[u8]| Ok::<_, Infallible>(supplier.signing.sign(bytes));
    sealing.seal(parts.collect(), &mut sign, &mut out, &mut |_| ()).unwrap();
    key
}

fn write_key(key: &SoftKey, to: &Path) {
    fs::write(to, encode_string("PRIVATE KEY", LineEnding::LF, key.pkcs8()).unwrap()).unwrap();
}

#[test]
fn python_opens_what_was_sealed_here_with_the_key_of_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let package = package(folder.path());
    let (file, pem) = (folder.path().join("bid.jmbs"), folder.path().join("token.pem"));
    write_key(&Supplier::get().encryption, &pem);
    for wrap in [WrapAlgorithm::RsaOaepSha256, WrapAlgorithm::RsaOaepSha1, WrapAlgorithm::RsaPkcs1V15] {
        seal(&package, wrap, &file);
        let output = read(&file, ["--private-key", pem.to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(found["project"], "KX-00823");
        assert_eq!(found["lots"], serde_json::json!([1, 17]));
        for place in package.parts() {
            let part = package.part(place.part).unwrap();
            let name = place.part.to_string();
            if let Some(sheet) = part.sheet() {
                assert_eq!(found["sheets"][&name], serde_json::to_value(sheet).unwrap());
            }
            assert_eq!(found["documents"][&name], serde_json::to_value(part.documents()).unwrap());
        }
    }
}

#[test]
fn python_opens_with_the_bid_key_and_with_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let package = package(folder.path());
    let file = folder.path().join("bid.jmbs");
    let key = seal(&package, WrapAlgorithm::RsaOaepSha256, &file);
    let output = read(&file, ["--bid-key", &hex::encode(key.expose())]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    refused(&read(&file, ["--bid-key", &hex::encode(BidKey::draw().expose())]), "wrong_key");
    let pem = folder.path().join("other.pem");
    write_key(&Supplier::get().signing, &pem);
    refused(&read(&file, ["--private-key", pem.to_str().unwrap()]), "wrong_key");
}

#[test]
fn python_refuses_a_bid_that_was_touched() {
    let folder = tempfile::tempdir().unwrap();
    let package = package(folder.path());
    let file = folder.path().join("bid.jmbs");
    let key = hex::encode(seal(&package, WrapAlgorithm::RsaOaepSha256, &file).expose());
    let whole = fs::read(&file).unwrap();
    let touched = |edit: &dyn Fn(&mut Vec<u8>), code| {
        let mut bytes = whole.clone();
        edit(&mut bytes);
        fs::write(&file, bytes).unwrap();
        refused(&read(&file, ["--bid-key", &key]), code);
    };
    touched(&|bytes| *bytes.last_mut().unwrap() ^= 1, "part_damaged");
    touched(&|bytes| bytes.truncate(bytes.len() - 1), "cut");
    touched(&|bytes| bytes.push(0), "trailing_bytes");
}

#[test]
fn python_meets_the_same_outcome_in_every_vector() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let output = python("check_vectors.py").arg(folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.trim().ends_with("vectors, 0 with another outcome"), "{said}");
}
