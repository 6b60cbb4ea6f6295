// Prints the status of a GET and who issued the certificate, with Node's https as it is.
const url = new URL(process.argv[2]);
const client = require(url.protocol === "https:" ? "https" : "http");
client.get(url, { timeout: 20000 }, (answer) => {
  console.log("status:", answer.statusCode);
  if (answer.socket.getPeerCertificate) console.log("issuer:", answer.socket.getPeerCertificate().issuer.CN);
  answer.destroy();
}).on("error", (error) => { console.error(String(error)); process.exit(1); });
