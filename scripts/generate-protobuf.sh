#!/usr/bin/env bash
# Generates common/gen from the protobuf files that packages ship. Needs: protoc (Debian: protobuf-compiler), python3 with pip.
# The result is committed, so that nobody needs protoc to run or build Heddle.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
deps=node_modules/@grpc/grpc-js-xds/deps
options=env=node,esModuleInterop=true,importSuffix=.ts,enumsAsLiterals=true,oneof=unions-value,outputJsonMethods=false,outputPartialMethods=true,unrecognizedEnum=false,forceLong=number,useOptionals=messages,useExactTypes=false,comments=false,outputServices=grpc-js

# The envoy-api tree uses validation rules newer than the rules file shipped beside it. Heddle does not run these rules,
# so a field that only has to parse is enough.
cp -r "$deps/protoc-gen-validate" "$work/validate"
chmod -R u+w "$work/validate"
sed -i -E 's/^message (StringRules|BytesRules|RepeatedRules|MapRules|[A-Za-z0-9]*Int[0-9]*Rules|[A-Za-z0-9]*Fixed[0-9]*Rules|FloatRules|DoubleRules) \{/&\n  optional bool ignore_empty = 99;/' \
  "$work/validate/validate/validate.proto"

# OTLP: the wheel carries serialized descriptors, the .proto files are in no registry package.
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q opentelemetry-proto==1.45.2
"$work/venv/bin/python" - "$work/otlp.pb" <<'PY'
import sys
from google.protobuf import descriptor_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
seen = {}
def add(file):
    if file.name in seen:
        return
    for dependency in file.dependencies:
        add(dependency)
    proto = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(proto)
    seen[file.name] = proto
add(trace_service_pb2.DESCRIPTOR)
files = descriptor_pb2.FileDescriptorSet()
files.file.extend(seen.values())
open(sys.argv[1], 'wb').write(files.SerializeToString())
PY

rm -rf common/gen
mkdir -p common/gen
plugin=(--plugin=node_modules/.bin/protoc-gen-ts_proto --ts_proto_out=common/gen "--ts_proto_opt=$options")
protoc "${plugin[@]}" -I "$deps/envoy-api" -I "$deps/googleapis" -I "$work/validate" -I "$deps/xds" -I common/proto \
  envoy/config/listener/v3/listener.proto envoy/config/route/v3/route.proto envoy/config/cluster/v3/cluster.proto \
  envoy/config/endpoint/v3/endpoint.proto envoy/extensions/transport_sockets/tls/v3/tls.proto \
  envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto \
  envoy/extensions/filters/http/router/v3/router.proto envoy/extensions/filters/network/tcp_proxy/v3/tcp_proxy.proto \
  envoy/extensions/upstreams/http/v3/http_protocol_options.proto envoy/service/discovery/v3/ads.proto \
  istio/v1/auth/ca.proto
protoc "${plugin[@]}" --descriptor_set_in="$work/otlp.pb" opentelemetry/proto/collector/trace/v1/trace_service.proto \
  opentelemetry/proto/trace/v1/trace.proto opentelemetry/proto/common/v1/common.proto \
  opentelemetry/proto/resource/v1/resource.proto
echo "common/gen: $(find common/gen -name '*.ts' | wc -l) files"
