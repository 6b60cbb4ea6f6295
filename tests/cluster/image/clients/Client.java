// Prints the status of a GET and who issued the certificate, with Java's HttpsURLConnection as it is.
import java.net.URL;
import java.security.cert.X509Certificate;
import javax.net.ssl.HttpsURLConnection;

class Client {
  public static void main(String[] args) throws Exception {
    var connection = (HttpsURLConnection) new URL(args[0]).openConnection();
    connection.setConnectTimeout(20000);
    connection.setReadTimeout(20000);
    System.out.println("status: " + connection.getResponseCode());
    var leaf = (X509Certificate) connection.getServerCertificates()[0];
    System.out.println("issuer: " + leaf.getIssuerX500Principal().getName());
  }
}
