//! The entry of a VNI in what zebra and bgpd print, whatever its release calls the fields. In: JSON. Out: [`VniEntry`]s. Pure.

use serde::de::MapAccess;
use serde::{Deserialize, Serialize};

use crate::frr::show::json::{Fields, JsonObject, List, Number, ShowError, Word, read};
use crate::types::Vni;

/// The type of a VNI, as FRR names it. A VXLAN device is that of an L2VNI until `vrf X` / `vni N` makes it one of an L3VNI.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum VniType {
    /// A bridge domain: MAC/IP and multicast routes (RFC 7432).
    L2,
    /// An IP-VRF: Type-5 routes (RFC 9136).
    #[default]
    L3,
}

impl VniType {
    /// As in FRR, and in the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::L2 => "L2",
            Self::L3 => "L3",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::L2, Self::L3].into_iter().find(|vni_type| vni_type.as_str() == name)
    }
}

/// A VNI as zebra or bgpd prints it.
#[derive(Default)]
pub(super) struct VniEntry {
    pub(super) vni_type: Word,
    pub(super) vni: Number,
    pub(super) vrf: Word,
    pub(super) state: Word,
    pub(super) vxlan_interface: Word,
    pub(super) vtep: Word,
    pub(super) router_mac: Word,
    pub(super) advertised_mac: Word,
    pub(super) svi: Word,
    pub(super) macs: Number,
    pub(super) neighbors: Number,
    pub(super) remote_vteps: Vec<String>,
    pub(super) in_kernel: Word,
    pub(super) rd: Word,
    pub(super) import: Vec<String>,
    pub(super) export: Vec<String>,
}

#[derive(Clone, Copy)]
pub(super) enum VniField {
    Type,
    Vni,
    Vrf,
    State,
    VxlanInterface,
    Vtep,
    RouterMac,
    AdvertisedMac,
    Svi,
    Macs,
    Neighbors,
    VtepAddresses,
    Vteps,
    InKernel,
    Rd,
    Import,
    Export,
}

impl Fields for VniEntry {
    type Field = VniField;

    const KEYS: &'static [(&'static str, VniField)] = &[
        ("type", VniField::Type),
        ("vni", VniField::Vni),
        // FRR 8.4, FRR 10.
        ("vrf", VniField::Vrf),
        ("tenantVrf", VniField::Vrf),
        ("state", VniField::State),
        ("vxlanInterface", VniField::VxlanInterface),
        // L3, L2.
        ("localVtepIp", VniField::Vtep),
        ("vtepIp", VniField::Vtep),
        ("routerMac", VniField::RouterMac),
        ("rmac", VniField::AdvertisedMac),
        // L3, L2.
        ("sviIntf", VniField::Svi),
        ("sviInterface", VniField::Svi),
        ("numMacs", VniField::Macs),
        ("numArpNd", VniField::Neighbors),
        // FRR 8.4: a list, despite its name. FRR 10.7: a number, and a list of objects.
        ("numRemoteVteps", VniField::VtepAddresses),
        ("remoteVteps", VniField::Vteps),
        ("inKernel", VniField::InKernel),
        ("rd", VniField::Rd),
        // FRR 8.4, FRR 10.
        ("importRTs", VniField::Import),
        ("importRts", VniField::Import),
        ("exportRTs", VniField::Export),
        ("exportRts", VniField::Export),
    ];

    fn set<'de, A: MapAccess<'de>>(&mut self, field: VniField, object: &mut A) -> Result<(), A::Error> {
        match field {
            VniField::Type => self.vni_type = object.next_value()?,
            VniField::Vni => self.vni = object.next_value()?,
            VniField::Vrf => self.vrf = object.next_value()?,
            VniField::State => self.state = object.next_value()?,
            VniField::VxlanInterface => self.vxlan_interface = object.next_value()?,
            VniField::Vtep => self.vtep = object.next_value()?,
            VniField::RouterMac => self.router_mac = object.next_value()?,
            VniField::AdvertisedMac => self.advertised_mac = object.next_value()?,
            VniField::Svi => self.svi = object.next_value()?,
            VniField::Macs => self.macs = object.next_value()?,
            VniField::Neighbors => self.neighbors = object.next_value()?,
            VniField::VtepAddresses => self.remote_vteps.extend(words(object.next_value()?)),
            VniField::Vteps => {
                let List(vteps) = object.next_value::<List<JsonObject<RemoteVtep>>>()?;
                self.remote_vteps.extend(vteps.into_iter().filter_map(|vtep| vtep.0?.ip.0));
            }
            VniField::InKernel => self.in_kernel = object.next_value()?,
            VniField::Rd => self.rd = object.next_value()?,
            VniField::Import => self.import = words(object.next_value()?),
            VniField::Export => self.export = words(object.next_value()?),
        }
        Ok(())
    }
}

/// A VTEP of another node to which an L2VNI floods.
#[derive(Default)]
struct RemoteVtep {
    ip: Word,
}

impl Fields for RemoteVtep {
    type Field = ();

    const KEYS: &'static [(&'static str, ())] = &[("ip", ())];

    fn set<'de, A: MapAccess<'de>>(&mut self, (): (), object: &mut A) -> Result<(), A::Error> {
        self.ip = object.next_value()?;
        Ok(())
    }
}

fn words(list: List<Word>) -> Vec<String> {
    list.0.into_iter().filter_map(|word| word.0).collect()
}

/// The VNIs of a list, or of the values of an object, with their types.
pub(super) fn vni_entries(command: &'static str, text: &str) -> Result<Vec<(Vni, VniType, VniEntry)>, ShowError> {
    let Some(List(entries)) = read::<List<JsonObject<VniEntry>>>(command, text)? else { return Ok(vec![]) };
    let with_type = |entry: VniEntry| {
        let vni_type = VniType::named(entry.vni_type.0.as_deref()?)?;
        let vni = u32::try_from(entry.vni.0?).ok().and_then(|raw| Vni::try_from(raw).ok())?;
        Some((vni, vni_type, entry))
    };
    Ok(entries.into_iter().filter_map(|entry| entry.0.and_then(with_type)).collect())
}
