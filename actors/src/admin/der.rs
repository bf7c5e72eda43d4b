//! Certificates and revocation lists as files hold them: PEM or DER.

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject as _};

const PEM_MARK: &[u8] = b"-----BEGIN ";

/// What every certificate and every list begins with: a SEQUENCE.
const DER_MARK: u8 = 0x30;

fn is_pem(bytes: &[u8]) -> bool {
    bytes.windows(PEM_MARK.len()).any(|window| window == PEM_MARK)
}

/// The first certificate of a file, as DER; none: it holds none. DER is given back as it is.
pub fn certificate_of(bytes: &[u8]) -> Option<Vec<u8>> {
    match is_pem(bytes) {
        true => CertificateDer::from_pem_slice(bytes).ok().map(|der| der.to_vec()),
        false => der_of(bytes),
    }
}

/// The first revocation list of a file, as DER; none: it holds none. DER is given back as it is.
pub fn revocation_list_of(bytes: &[u8]) -> Option<Vec<u8>> {
    match is_pem(bytes) {
        true => CertificateRevocationListDer::from_pem_slice(bytes).ok().map(|der| der.to_vec()),
        false => der_of(bytes),
    }
}

fn der_of(bytes: &[u8]) -> Option<Vec<u8>> {
    (bytes.first() == Some(&DER_MARK)).then(|| bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_is_unpacked_and_der_stays_as_it_is() {
        let pem = b"words\n-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
        assert_eq!(certificate_of(pem), Some(vec![1, 2, 3]));
        assert_eq!(revocation_list_of(pem), None);
        let list = b"-----BEGIN X509 CRL-----\nAQID\n-----END X509 CRL-----\n";
        assert_eq!(revocation_list_of(list), Some(vec![1, 2, 3]));
        assert_eq!(certificate_of(&[0x30, 0x03]), Some(vec![0x30, 0x03]));
    }

    #[test]
    fn a_letter_is_neither() {
        assert_eq!(certificate_of(b"Dear Sirs"), None);
        assert_eq!(revocation_list_of(b""), None);
    }
}
