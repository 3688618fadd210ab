#!/bin/sh
# leaf-vrf.sh VRF VNI PORT ADDRESS4 ADDRESS6 [FAMILY]
# Creates an IP-VRF on a leaf: VRF, VXLAN, bridge, the host's port with the gateway addresses, and FRR's stanzas. FAMILY is
# that of the VTEP, 4 by default or 6 (FRR 10.6 and later).
# The VRF is a VRF device if the kernel supports it, else a network namespace that zebra (started with -n) uses as a VRF.
# A packet without a route in the VRF is dropped silently, as on a switch, and never looked up in another table.
# With a TOS other than 0 the kernel looks up the route of each VXLAN packet, so that packets are spread over the paths to
# a VTEP; 2 is in the ECN bits, which the kernel copies from the inner packet.
# FRR's default instance with advertise-all-vni must exist before this runs (FRR issue 22851).
set -eu
vrf=$1 vni=$2 port=$3 address4=$4 address6=$5 family=${6-4}
state=/run/leaf-vrf

# until_true TENTHS COMMAND...
until_true() {
	tries=$1
	shift
	while ! "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || return 1
		sleep 0.1
	done
}

# has TEXT PART...: whether all parts are in the text. It starts no process: that is slow on an emulated machine.
has() {
	text=$1
	shift
	for part; do
		case $text in *"$part"*) ;; *) return 1 ;; esac
	done
}

bgpd_ready() { bgpd=$(vtysh -c 'show running-config bgpd') && has "$bgpd" ' advertise-all-vni'; }
in_vrf() { nsenter --net="$state/$vrf" "$@"; }
vrf_active() { has "$(vtysh -c 'show vrf')" "vrf $vrf id"; }
vni_up() {
	last=$(vtysh -c "show evpn vni $vni" -c "show bgp l2vpn evpn vni $vni") &&
		has "$last" "State: Up" "Router MAC: $mac" "Router-MAC: $mac"
}

# zebra's stanza, then bgpd's; in one vtysh, as starting it is slow.
configure() {
	vtysh -c 'configure terminal' \
		-c "vrf $vrf" -c "vni $vni" -c 'exit-vrf' \
		-c "router bgp $asn vrf $vrf" \
		-c "bgp router-id $router_id" \
		-c 'bgp bestpath as-path multipath-relax' \
		-c 'address-family ipv4 unicast' -c 'redistribute connected' -c 'exit-address-family' \
		-c 'address-family ipv6 unicast' -c 'redistribute connected' -c 'exit-address-family' \
		-c 'address-family l2vpn evpn' -c 'advertise ipv4 unicast' -c 'advertise ipv6 unicast'
}

unconfigure() {
	vtysh -c 'configure terminal' -c "vrf $vrf" -c "no vni $vni" || :
	# bgpd rejects this until zebra has notified it that the VNI is gone.
	until_true 50 vtysh -c 'configure terminal' -c "no router bgp $asn vrf $vrf" || :
}

# zebra first sees the namespace when it is set up and has no devices; these are then created inside. Any other order
# loses events.
build_netns() {
	mkdir -p /run/netns
	: >"$state/$vrf"
	unshare --net="$state/$vrf" true
	in_vrf sh -c '
		ip link set lo up
		echo 1 >/proc/sys/net/ipv4/ip_forward
		echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
		for c in all default; do echo 0 >/proc/sys/net/ipv4/conf/$c/rp_filter; done
		# Flows between two hosts are spread over the next hops too, as on switches.
		echo 1 >/proc/sys/net/ipv4/fib_multipath_hash_policy
		echo 1 >/proc/sys/net/ipv6/fib_multipath_hash_policy
		ip route add blackhole default metric 4278198272
		ip -6 route add blackhole default metric 4278198272'
	# zebra may miss the new name, for an unknown reason.
	for try in 1 2 3; do
		ln -s "$state/$vrf" "/run/netns/$vrf"
		! until_true 50 vrf_active || break
		echo "VRF $vrf: zebra did not see the namespace (try $try)" | tee -a /var/log/frr/leaf-vrf.log >&2
		vtysh -c 'show vrf' >&2
		tail -n 20 /var/log/frr/frr.log >&2 || :
		rm -f "/run/netns/$vrf"
	done
	[ -e "/run/netns/$vrf" ]
	# Created from here, so that its socket is in the leaf's own namespace, with the underlay.
	ip link add "vni$vni" mtu $mtu netns "$vrf" type vxlan id "$vni" local "$vtep" dstport 4789 nolearning tos 2 $checksum
	in_vrf ip -batch - <<-END
		link add br$vni address $mac mtu $mtu type bridge stp_state 0 mcast_snooping 0
		link set br$vni addrgenmode none
		link set vni$vni master br$vni addrgenmode none
		link set vni$vni type bridge_slave neigh_suppress on learning off
		link set vni$vni up
		link set br$vni up
		link show br$vni
	END
}

remove_netns() {
	rm -f "/run/netns/$vrf"
	umount "$state/$vrf"
	rm -f "$state/$vrf"
	vtysh -c 'configure terminal' -c "no vrf $vrf" || :
}

build_device() {
	table=$((1000 + vni))
	echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter
	echo 1 >/proc/sys/net/ipv4/fib_multipath_hash_policy
	echo 1 >/proc/sys/net/ipv6/fib_multipath_hash_policy
	ip -batch - <<-END
		route add table $table blackhole 0.0.0.0/0 metric 4278198272
		route add table $table blackhole ::/0 metric 4278198272
		link add $vrf type vrf table $table
		link set $vrf up
		link add br$vni address $mac mtu $mtu type bridge stp_state 0 mcast_snooping 0
		link set br$vni master $vrf addrgenmode none
		link add vni$vni mtu $mtu type vxlan id $vni local $vtep dstport 4789 nolearning tos 2 $checksum
		link set vni$vni master br$vni addrgenmode none
		link set vni$vni type bridge_slave neigh_suppress on learning off
		link set vni$vni up
		link set br$vni up
		link show br$vni
	END
	until_true 50 vrf_active
}

remove_device() {
	ip link del "vni$vni"
	ip link del "br$vni"
	ip link del "$vrf"
	vtysh -c 'configure terminal' -c "no vrf $vrf" || :
}

mkdir -p "$state"
port_state() { vtysh -c "show interface $port vrf $vrf"; }
port_known() { has "$(port_state)" "Interface $port is up"; }
addresses_known() { has "$(port_state)" "inet $address4" "inet6 $address6"; }

# zebra can lose addresses that are added to a moved interface before zebra has seen it in the new VRF. So they are added
# after that, and again if they are lost.
attach_port() {
	case $backend in
	netns) ip link set "$port" netns "$vrf" && run=in_vrf && in_vrf ip link set "$port" up ;;
	device) ip link set "$port" master "$vrf" up && run= ;;
	esac
	until_true 50 port_known || :
	for try in 1 2 3 4 5; do
		$run ip -batch - <<-END
			address replace $address4 dev $port
			address replace $address6 dev $port nodad
		END
		! until_true 10 addresses_known || return 0
		echo "VRF $vrf: zebra did not see the addresses of $port (try $try)" | tee -a /var/log/frr/leaf-vrf.log >&2
		$run ip address flush dev "$port" scope global
	done
	return 1
}

if ! until_true 300 bgpd_ready; then
	echo "VRF $vrf: bgpd has no default instance with advertise-all-vni" >&2
	exit 1
fi
# The default instance comes first.
asn=${bgpd#*router bgp }
asn=${asn%%[!0-9]*}
router_id=${bgpd#* bgp router-id }
router_id=${router_id%%[!0-9.]*}

# zebra adds the address asynchronously.
vtep_known() {
	vtep=$(ip "-$family" -o address show dev lo scope global)
	vtep=${vtep#* inet* }
	vtep=${vtep%%/*}
	[ -n "$vtep" ]
}
if ! until_true 300 vtep_known; then
	echo "VRF $vrf: lo has no address for the VTEP" >&2
	exit 1
fi
# The MAC of a VNI is advertised as the router MAC of its routes: derived from VTEP and VNI, it survives a restart.
case $family in
4)
	second=${vtep#*.} third=${vtep#*.*.} mtu=9450 checksum=
	set -- "${second%%.*}" "${third%.*}" "${vtep##*.}"
	;;
# A switch sends a UDP checksum of zero, and must be understood (RFC 7348 section 5).
6) mtu=9430 checksum=udp6zerocsumrx && set -- 6 0 "0x${vtep##*:}" ;;
esac
mac=$(printf '02:%02x:%02x:%02x:%02x:%02x' "$1" "$2" "$3" $((vni / 256 % 256)) $((vni % 256)))

if ip link add vrfprobe type vrf table 9999 2>/dev/null; then
	ip link del vrfprobe
	backend=device
else
	backend=netns
fi

# A VNI that FRR did not bring up is removed and created again.
for attempt in 1 2 3 4 5; do
	last=
	build_$backend >/dev/null
	configure
	if until_true 20 vni_up; then
		attach_port
		exit 0
	fi
	echo "VRF $vrf: FRR did not bring up VNI $vni (attempt $attempt)" | tee -a /var/log/frr/leaf-vrf.log >&2
	echo "$last" | tee -a /var/log/frr/leaf-vrf.log >&2
	unconfigure
	remove_$backend
done
exit 1
