# Prints the status of a GET and who issued the certificate, with requests as it is.
import sys, requests

with requests.get(sys.argv[1], stream=True, timeout=20) as answer:
    peer = answer.raw.connection.sock.getpeercert() if sys.argv[1].startswith("https:") else {}
    issuer = [value for part in peer.get("issuer", ()) for key, value in part if key == "commonName"]
    print("status:", answer.status_code)
    print("issuer:", *issuer)
