#!/usr/bin/env bash
# build.sh PYTHON FOLDER: makes the package of TypeScript stubs in FOLDER, from the contracts and from what lies beside this file.
set -euo pipefail
here=$(dirname "$0") python=$1 folder=$2
mkdir -p "$folder"
if [ ! -d "$folder/node_modules" ] || ! cmp -s "$here/package-lock.json" "$folder/package-lock.json"; then
  cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$folder"
  npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund --loglevel=error > /dev/null
fi
rm -rf "$folder/src" "$folder/lib" "$folder"/*.tgz
mkdir "$folder/src"
cp "$here/package.json" "$here/tsconfig.json" "$here/README.md" LICENSE "$folder"
cp "$here"/src/*.ts "$folder/src"
# 64-bit numbers are bigint: an amount in minor units is never rounded. Enums lose the prefix that the contracts give them.
options=outputServices=grpc-js,env=node,esModuleInterop=true,importSuffix=.js,exportCommonSymbols=false
options+=,forceLong=bigint,removeEnumPrefix=true,unrecognizedEnum=true
"$python" -m grpc_tools.protoc -Iprotos --plugin="protoc-gen-ts_proto=$folder/node_modules/.bin/protoc-gen-ts_proto" \
  --ts_proto_out="$folder/src" --ts_proto_opt="$options" $(find protos -name '*.proto' | sort)
version=$("$python" -c 'from batzen.version import VERSION; print(VERSION)')
cd "$folder"
node_modules/.bin/tsc --project .
npm pkg set version="$version"
npm pack --silent --ignore-scripts > /dev/null
