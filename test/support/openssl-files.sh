# Writes keys and certificates in all formats that servers get, also by mistake, to the current folder.
set -eu
own() { # NAME, then options of `openssl req`: a key and a self-signed certificate.
  name=$1
  shift
  openssl req -x509 -nodes -days 30 -subj "/CN=$name" -keyout "$name.key" -out "$name.crt" "$@"
}
issue() { # NAME, ISSUER, and an extension: a key and a certificate signed by the issuer.
  openssl req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj "/CN=$1" -keyout "$1.key" -out "$1.csr"
  printf '%s\n' "$3" >"$1.ext"
  openssl x509 -req -in "$1.csr" -CA "$2.crt" -CAkey "$2.key" -CAcreateserial -days 30 -extfile "$1.ext" -out "$1.crt"
}
ec='-newkey ec -pkeyopt ec_paramgen_curve'
own rsa -newkey rsa:2048
own other $ec:P-256
own p256 $ec:P-256
own p384 $ec:P-384
own p521 $ec:P-521
own ed25519 -newkey ed25519
own ed448 -newkey ed448
own pss -newkey rsa-pss -pkeyopt rsa_keygen_bits:2048
own rsa512 -newkey rsa:512
own rsa1024 -newkey rsa:1024
own koblitz $ec:secp256k1
own brainpool $ec:brainpoolP256r1
openssl genpkey -algorithm X25519 -out x25519.key
openssl genpkey -genparam -algorithm DSA -pkeyopt dsa_paramgen_bits:1024 -out dsa.params
openssl genpkey -paramfile dsa.params -out dsa.key

# root signs middle, which signs leaf. Another authority with the name of root has another key.
own root $ec:P-256
mkdir again
(cd again && own root $ec:P-256)
issue middle root 'basicConstraints=critical,CA:true'
issue leaf middle 'basicConstraints=CA:false'
issue visitor middle 'extendedKeyUsage=clientAuth'
cat leaf.crt middle.crt root.crt >chain.crt
cat middle.crt leaf.crt >reversed.crt
cat leaf.crt root.crt middle.crt >jumbled.crt
cat leaf.crt leaf.crt middle.crt >twice.crt
cat leaf.crt middle.crt again/root.crt >namesake.crt
cat leaf.key leaf.crt middle.crt >combined.pem
cat p256.key other.key >keys.pem

openssl pkey -in rsa.key -aes256 -passout pass:word -out encrypted.key
openssl rsa -in rsa.key -traditional -aes256 -passout pass:word -out traditional.key
openssl rsa -in rsa.key -traditional -out pkcs1.key
openssl ecparam -name prime256v1 -out sec1.params
openssl ec -in p256.key -out sec1.body
cat sec1.params sec1.body >sec1.key
openssl pkcs8 -topk8 -v1 PBE-MD5-DES -passout pass:word -provider legacy -provider default -in rsa.key -out outdated.key
openssl pkey -in rsa.key -pubout -out public.pem
cp rsa.key openssh.key
chmod 600 openssh.key
ssh-keygen -q -p -N '' -f openssh.key || printf '%s\n' '-----BEGIN OPENSSH PRIVATE KEY-----' AAAA '-----END OPENSSH PRIVATE KEY-----' >openssh.key
openssl pkey -in rsa.key -outform DER -out key.der
openssl pkey -in ed25519.key -outform DER -out small.der
openssl x509 -in rsa.crt -outform DER -out cert.der
openssl pkcs12 -export -inkey rsa.key -in rsa.crt -passout pass: -out bundle.p12
openssl crl2pkcs7 -nocrl -certfile chain.crt -out chain.p7b
openssl crl2pkcs7 -nocrl -certfile chain.crt -outform DER -out chain.p7c

: >empty
printf '\n \r\n' >blank
printf '\357\273\277' >mark
printf 'hello\n' >word
printf '0123456789' >digits
head -c 1000 rsa.key >half.key
head -c 700 rsa.crt >half.crt
sed '2,4d' rsa.key >damaged.key
sed '2,4d' rsa.crt >damaged.crt
cat leaf.crt damaged.crt >second-damaged.crt
sed 's/$/\r/' rsa.key >crlf.key
sed 's/$/\r/' rsa.crt >crlf.crt
tr '\n' '\r' <rsa.key >cr.key
sed 's/^/    /' rsa.key >indented.key
sed 's/$/\r/' traditional.key >crlf-traditional.key
(printf '\357\273\277' && cat rsa.key) >marked.key
(printf '\357\273\277' && cat rsa.crt) >marked.crt
(echo 'of the web server' && openssl x509 -text -in rsa.crt && echo 'end') >described.crt
(printf '\377\376' && iconv -f UTF-8 -t UTF-16LE rsa.key) >utf16.key
iconv -f UTF-8 -t UTF-16LE rsa.crt >unmarked16.crt
