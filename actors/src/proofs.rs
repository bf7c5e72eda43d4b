//! Who proves signatures and certificates: the production checks, each time. A simulated world, which meets the same
//! few bids in every run, remembers what was proved of the same bytes before.

use kaibiao_protocol::moment::Moment;
use kaibiao_sealed::{
    certificate::{CertificateFault, CertificateUse},
    header::{Header, SealSignatureFault},
    signature::Signed,
    trust::{Judged, Trust},
};

/// Proves signatures and certificates.
pub(crate) trait Proofs {
    /// Whether the statement in a header is signed as it says.
    fn signature(&self, header: &Header) -> Result<Signed, SealSignatureFault>;

    /// Whether a certificate holds.
    fn certificate(
        &self,
        trust: &Trust,
        certificate: &[u8],
        wanted: CertificateUse,
        at: Moment,
    ) -> Result<Judged, CertificateFault>;
}

/// Proves each time anew.
pub(crate) struct EachTime;

impl Proofs for EachTime {
    fn signature(&self, header: &Header) -> Result<Signed, SealSignatureFault> {
        header.check_signature()
    }

    fn certificate(
        &self,
        trust: &Trust,
        certificate: &[u8],
        wanted: CertificateUse,
        at: Moment,
    ) -> Result<Judged, CertificateFault> {
        trust.judge(certificate, wanted, at)
    }
}
