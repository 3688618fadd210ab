#!/bin/sh
# leaf-vrf.sh VRF VNI PORT ADDRESS4 ADDRESS6
# Makes an IP-VRF on a leaf: VRF, VXLAN, bridge, the host's port with the gateway addresses, and FRR's stanzas.
# The VRF is a VRF device where the kernel has it, else a network namespace that zebra (started with -n) takes for one.
# What the VRF has no route for is dropped without an answer, as a switch does it, and never looked up elsewhere.
# A TOS other than 0 has the kernel look up the route of each VXLAN packet, so that the ways to a VTEP are shared; 2 is
# ECN's part of it, which the kernel takes from the inner packet.
# FRR's default instance with advertise-all-vni must stand before this runs (FRR issue 22851).
set -eu
vrf=$1 vni=$2 port=$3 address4=$4 address6=$5
aside=/run/leaf-vrf

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

# has TEXT PART...: whether all parts are in the text; no process is started, as that is dear on an emulated machine.
has() {
	text=$1
	shift
	for part; do
		case $text in *"$part"*) ;; *) return 1 ;; esac
	done
}

bgpd_ready() { bgpd=$(vtysh -c 'show running-config bgpd') && has "$bgpd" ' advertise-all-vni'; }
in_vrf() { nsenter --net="$aside/$vrf" "$@"; }
vrf_active() { has "$(vtysh -c 'show vrf')" "vrf $vrf id"; }
vni_up() {
	seen=$(vtysh -c "show evpn vni $vni" -c "show bgp l2vpn evpn vni $vni") &&
		has "$seen" "State: Up" "Router MAC: $mac" "Router-MAC: $mac"
}

# zebra's stanza, then bgpd's; one vtysh, for it is what costs here.
configure() {
	vtysh -c 'configure terminal' \
		-c "vrf $vrf" -c "vni $vni" -c 'exit-vrf' \
		-c "router bgp $asn vrf $vrf" \
		-c "bgp router-id $vtep" \
		-c 'bgp bestpath as-path multipath-relax' \
		-c 'address-family ipv4 unicast' -c 'redistribute connected' -c 'exit-address-family' \
		-c 'address-family ipv6 unicast' -c 'redistribute connected' -c 'exit-address-family' \
		-c 'address-family l2vpn evpn' -c 'advertise ipv4 unicast' -c 'advertise ipv6 unicast'
}

unconfigure() {
	vtysh -c 'configure terminal' -c "vrf $vrf" -c "no vni $vni" || :
	# bgpd refuses this until it has heard of the lost VNI.
	until_true 50 vtysh -c 'configure terminal' -c "no router bgp $asn vrf $vrf" || :
}

# Empty and complete before zebra sees it, its devices born inside: any other order loses events.
build_netns() {
	mkdir -p /run/netns
	: >"$aside/$vrf"
	unshare --net="$aside/$vrf" true
	in_vrf sh -c '
		ip link set lo up
		echo 1 >/proc/sys/net/ipv4/ip_forward
		echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
		for c in all default; do echo 0 >/proc/sys/net/ipv4/conf/$c/rp_filter; done
		# Flows of one pair of hosts are spread over the next hops too, as switches do it.
		echo 1 >/proc/sys/net/ipv4/fib_multipath_hash_policy
		echo 1 >/proc/sys/net/ipv6/fib_multipath_hash_policy
		ip route add blackhole default metric 4278198272
		ip -6 route add blackhole default metric 4278198272'
	# zebra may miss the name; why is not known.
	for try in 1 2 3; do
		ln -s "$aside/$vrf" "/run/netns/$vrf"
		! until_true 50 vrf_active || break
		echo "VRF $vrf: zebra did not see the namespace (try $try)" | tee -a /var/log/frr/leaf-vrf.log >&2
		vtysh -c 'show vrf' >&2
		tail -n 20 /var/log/frr/frr.log >&2 || :
		rm -f "/run/netns/$vrf"
	done
	[ -e "/run/netns/$vrf" ]
	# From here, so that its socket is in the leaf's own namespace: there is the underlay.
	ip link add "vni$vni" mtu 9450 netns "$vrf" type vxlan id "$vni" local "$vtep" dstport 4789 nolearning tos 2
	in_vrf ip -batch - <<-END
		link add br$vni address $mac mtu 9450 type bridge stp_state 0 mcast_snooping 0
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
	umount "$aside/$vrf"
	rm -f "$aside/$vrf"
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
		link add br$vni address $mac mtu 9450 type bridge stp_state 0 mcast_snooping 0
		link set br$vni master $vrf addrgenmode none
		link add vni$vni mtu 9450 type vxlan id $vni local $vtep dstport 4789 nolearning tos 2
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

mkdir -p "$aside"
port_now() { vtysh -c "show interface $port vrf $vrf"; }
port_seen() { has "$(port_now)" "Interface $port is up"; }
addresses_seen() { has "$(port_now)" "inet $address4" "inet6 $address6"; }

# zebra can lose addresses that a moved interface gets before zebra has seen it at its new place: these wait for it, and
# what is lost all the same is given again.
give_port() {
	case $backend in
	netns) ip link set "$port" netns "$vrf" && run=in_vrf && in_vrf ip link set "$port" up ;;
	device) ip link set "$port" master "$vrf" up && run= ;;
	esac
	until_true 50 port_seen || :
	for try in 1 2 3 4 5; do
		$run ip -batch - <<-END
			address replace $address4 dev $port
			address replace $address6 dev $port nodad
		END
		! until_true 10 addresses_seen || return 0
		echo "VRF $vrf: zebra did not see the addresses of $port (try $try)" | tee -a /var/log/frr/leaf-vrf.log >&2
		$run ip address flush dev "$port" scope global
	done
	return 1
}

if ! until_true 300 bgpd_ready; then
	echo "VRF $vrf: bgpd has no default instance with advertise-all-vni" >&2
	exit 1
fi
# The default instance is the first.
asn=${bgpd#*router bgp }
asn=${asn%%[!0-9]*}

# zebra puts the address there, in its own time.
vtep_known() {
	vtep=$(ip -4 -o address show dev lo scope global)
	vtep=${vtep#* inet }
	vtep=${vtep%%/*}
	[ -n "$vtep" ]
}
if ! until_true 300 vtep_known; then
	echo "VRF $vrf: lo has no address for the VTEP" >&2
	exit 1
fi
# A VNI's MAC goes out as the router MAC of its routes: derived from VTEP and VNI, it is the same after a restart.
second=${vtep#*.} third=${vtep#*.*.}
mac=$(printf '02:%02x:%02x:%02x:%02x:%02x' "${second%%.*}" "${third%.*}" "${vtep##*.}" $((vni / 256 % 256)) $((vni % 256)))

if ip link add vrfprobe type vrf table 9999 2>/dev/null; then
	ip link del vrfprobe
	backend=device
else
	backend=netns
fi

# A VNI that FRR did not take up is built again.
for attempt in 1 2 3 4 5; do
	seen=
	build_$backend >/dev/null
	configure
	if until_true 20 vni_up; then
		give_port
		exit 0
	fi
	echo "VRF $vrf: FRR did not take up VNI $vni (attempt $attempt)" | tee -a /var/log/frr/leaf-vrf.log >&2
	echo "$seen" | tee -a /var/log/frr/leaf-vrf.log >&2
	unconfigure
	remove_$backend
done
exit 1
