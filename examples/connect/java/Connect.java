import java.sql.DriverManager;
import java.util.Properties;

/**
 * Asks a mesh one question through JDBC:
 *
 * <pre>
 * java -Duser.timezone=UTC --add-opens=java.base/java.nio=ALL-UNNAMED \
 *      -cp flight-sql-jdbc-driver-18.3.0.jar Connect.java 127.0.0.1:50051 analyst-eu analyst-eu
 * </pre>
 */
public class Connect {
    private static final String QUESTION =
            "SELECT c.country, count(*) AS orders, sum(o.total_eur) AS spent_eur"
                    + " FROM storefront.customers c JOIN wholesale.orders o ON o.customer_id = c.customer_id"
                    + " GROUP BY c.country ORDER BY spent_eur DESC LIMIT 5";

    public static void main(String[] arguments) throws Exception {
        var properties = new Properties();
        properties.setProperty("user", arguments[1]);
        properties.setProperty("password", arguments[2]);
        // Only for a mesh that is served without TLS.
        properties.setProperty("useEncryption", "false");
        try (var mesh = DriverManager.getConnection("jdbc:arrow-flight-sql://" + arguments[0], properties);
                var statement = mesh.createStatement();
                var rows = statement.executeQuery(QUESTION)) {
            while (rows.next()) {
                System.out.printf("%s %7d %14.2f%n", rows.getString(1), rows.getLong(2), rows.getBigDecimal(3));
            }
        }
    }
}
