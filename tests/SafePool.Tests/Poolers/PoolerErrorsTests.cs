using Npgsql;
using SafePool.Driver;
using SafePool.Driver.Poolers;
using Xunit;

namespace SafePool.Tests.Poolers;

public sealed class PoolerErrorsTests
{
    [Theory]
    [InlineData("unsupported startup parameter: options", nameof(PoolerErrorKind.StartupParameterRefused), false)]
    [InlineData("unsupported startup parameter in options: statement_timeout", nameof(PoolerErrorKind.StartupParameterRefused), false)]
    [InlineData("no more connections allowed (max_client_conn)", nameof(PoolerErrorKind.Full), true)]
    [InlineData("query_wait_timeout", nameof(PoolerErrorKind.NoServerInTime), true)]
    [InlineData("password authentication failed", nameof(PoolerErrorKind.AuthenticationFailed), false)]
    [InlineData("\"trust\" authentication failed", nameof(PoolerErrorKind.AuthenticationFailed), false)]
    [InlineData("SASL authentication failed", nameof(PoolerErrorKind.AuthenticationFailed), false)]
    [InlineData("no such database: nope", nameof(PoolerErrorKind.UnknownDatabase), false)]
    [InlineData("database \"app\" is disabled", nameof(PoolerErrorKind.Disabled), true)]
    [InlineData("password authentication failed for user \"app\"", nameof(PoolerErrorKind.ServerLoginRefused), false)]
    [InlineData("database \"missing\" does not exist", nameof(PoolerErrorKind.ServerLoginRefused), false)]
    [InlineData("server login has been failing, try again later (server_login_retry)", nameof(PoolerErrorKind.ServerLost), true)]
    [InlineData("invalid server parameter", nameof(PoolerErrorKind.ServerNotSetUp), true)]
    [InlineData("server conn crashed?", nameof(PoolerErrorKind.ServerLost), true)]
    [InlineData("idle transaction timeout", nameof(PoolerErrorKind.TimeLimit), true)]
    [InlineData("query timeout", nameof(PoolerErrorKind.TimeLimit), true)]
    [InlineData("client_idle_timeout", nameof(PoolerErrorKind.TimeLimit), true)]
    [InlineData("transaction blocks not allowed in statement pooling mode", nameof(PoolerErrorKind.StatementMode), false)]
    public void KindOf_WordsOfAPooler_AreToldApart(string text, string kind, bool isCurable)
    {
        var error = Error("08P01", text);

        Assert.Equal(kind, PoolerErrors.KindOf(error).ToString());
        Assert.Equal(isCurable, PoolerErrors.IsCurable(error));
    }

    [Theory]
    [InlineData("08P01", "invalid frontend message type 0")]
    [InlineData("28P01", "password authentication failed for user \"app\"")]
    [InlineData("XX000", "cache lookup failed for type 0")]
    [InlineData("53300", "sorry, too many clients already")]
    public void KindOf_WordsOfAServer_AreNoPoolers(string state, string text)
    {
        var error = Error(state, text);

        Assert.Null(PoolerErrors.KindOf(error));
        Assert.Null(PoolerErrors.IsCurable(error));
        Assert.Null(PoolerErrors.Explain(error));
    }

    [Theory]
    [InlineData("XX000", "MaxClientsInSessionMode: max clients reached - in Session mode max clients are limited to pool_size", nameof(PoolerErrorKind.Full), true)]
    [InlineData("XX000", "(EMAXCONNSESSION) max clients reached in session mode - max clients are limited to pool_size: 15", nameof(PoolerErrorKind.Full), true)]
    [InlineData("XX000", "(EMAXCONN) max client connections reached, limit: 200", nameof(PoolerErrorKind.Full), true)]
    [InlineData("XX000", "Max client connections reached", nameof(PoolerErrorKind.Full), true)]
    [InlineData("XX000", "(ECHECKOUTTIMEOUT) unable to check out connection from the pool after 15000ms in Transaction mode", nameof(PoolerErrorKind.NoServerInTime), true)]
    [InlineData("XX000", "Tenant or user not found", nameof(PoolerErrorKind.UnknownTenant), true)]
    [InlineData("XX000", "(ENOTFOUND) tenant/user app.xyz not found", nameof(PoolerErrorKind.UnknownTenant), true)]
    [InlineData("XX000", "(ENOIDENTIFIER) no tenant identifier provided (external_id or sni_hostname required)", nameof(PoolerErrorKind.TenantMissing), false)]
    [InlineData("XX000", "(ESSLREQUIRED) SSL connection is required for user: app", nameof(PoolerErrorKind.EncryptionRequired), false)]
    [InlineData("53300", "too many client tcp connections (global client_max)", nameof(PoolerErrorKind.Full), true)]
    [InlineData("53300", "odyssey: c1a2b3: too many tcp connections (global client_max 100)", nameof(PoolerErrorKind.Full), true)]
    [InlineData("53300", "odyssey: c1a2b3: too many client tcp connections (client_max for user app.app 5)", nameof(PoolerErrorKind.Full), true)]
    [InlineData("53300", "odyssey: too many active clients for user (pool_size for user app.app reached 5)", nameof(PoolerErrorKind.Full), true)]
    [InlineData("08006", "odyssey: c1a2b3: failed to get remote server connection", nameof(PoolerErrorKind.NoServerInTime), true)]
    [InlineData("08006", "odyssey: c1a2b3: failed to connect to remote server s3f2a", nameof(PoolerErrorKind.ServerLost), true)]
    [InlineData("08006", "odyssey: c1a2b3: remote server read/write error s3f2a: broken", nameof(PoolerErrorKind.ServerLost), true)]
    [InlineData("08006", "odyssey: c1a2b3: can't find suitable host for tsa 'read-write' of user app.app", nameof(PoolerErrorKind.ServerLost), true)]
    [InlineData("08006", "odyssey: c1a2b3: Odyssey is gracefully shutting down", nameof(PoolerErrorKind.Disabled), true)]
    [InlineData("08006", "odyssey: c1a2b3: Odyssey has dropped the connection", nameof(PoolerErrorKind.TimeLimit), true)]
    [InlineData("28000", "odyssey: c1a2b3: failed to make auth query", nameof(PoolerErrorKind.ServerLost), true)]
    [InlineData("28000", "odyssey: c1a2b3: frontend auth: failed to make auth query", nameof(PoolerErrorKind.ServerLost), true)]
    [InlineData("28000", "odyssey: c1a2b3: TLS connection required", nameof(PoolerErrorKind.EncryptionRequired), false)]
    [InlineData("08P01", "odyssey: c1a2b3: SSL is required", nameof(PoolerErrorKind.EncryptionRequired), false)]
    [InlineData("58000", "odyssey: c1a2b3: ldap authentication failed for user \"app\": insufficient access", nameof(PoolerErrorKind.AuthenticationFailed), false)]
    [InlineData("3D000", "Unable to retrieve server parameters for database: app, user: app. The database server may be unavailable or misconfigured. Please try again later or contact your database administrator.", nameof(PoolerErrorKind.ServerLost), true)]
    [InlineData("3D000", "Auth query service temporarily unavailable for database: app. Please try again later.", nameof(PoolerErrorKind.ServerLost), true)]
    [InlineData("58000", "Authentication service unavailable. Please try again later.", nameof(PoolerErrorKind.ServerLost), true)]
    [InlineData("58000", "Unable to retrieve server parameters. Please try again later.", nameof(PoolerErrorKind.ServerLost), true)]
    [InlineData("58000", "Unable to connect to database server. Please try again later.", nameof(PoolerErrorKind.ServerLost), true)]
    [InlineData("08006", "Server unavailable: app:5432. Please try again later.", nameof(PoolerErrorKind.ServerLost), true)]
    [InlineData("3D000", "No connection pool configured for database: app, user: app. Please check your connection parameters.", nameof(PoolerErrorKind.UnknownDatabase), false)]
    [InlineData("58006", "Connection pooler is shutting down. Please reconnect in a few moments.", nameof(PoolerErrorKind.Disabled), true)]
    [InlineData("58000", "terminating connection due to administrator command", nameof(PoolerErrorKind.Disabled), true)]
    [InlineData("58000", "checkout failure limit reached (5 / 5)", nameof(PoolerErrorKind.NoServerInTime), true)]
    [InlineData("58000", "pool: all replicas down", nameof(PoolerErrorKind.ServerLost), true)]
    [InlineData("XX000", "(EAUTHQUERY) auth_query connection failed: timeout", nameof(PoolerErrorKind.ServerLost), true)]
    [InlineData("XX000", "(EAUTHQUERY) authentication query failed: tcp connect: connection refused", nameof(PoolerErrorKind.ServerLost), true)]
    [InlineData("XX000", "This connection is trying to access this endpoint from a blocked network.", nameof(PoolerErrorKind.AddressRefused), false)]
    [InlineData("53300", "too many active clients for user (pool_size for user app.app reached 5)", nameof(PoolerErrorKind.Full), true)]
    [InlineData("08006", "failed to get remote server connection", nameof(PoolerErrorKind.NoServerInTime), true)]
    [InlineData("08006", "failed to connect to remote server s3f2a", nameof(PoolerErrorKind.ServerLost), true)]
    [InlineData("58000", "could not get connection from the pool - AllServersDown", nameof(PoolerErrorKind.NoServerInTime), true)]
    [InlineData("58000", "No pool configured for database: \"app\", user: \"app\"", nameof(PoolerErrorKind.UnknownDatabase), false)]
    [InlineData("58000", "connection pool for user \"app\" and database \"app\" is down", nameof(PoolerErrorKind.ServerLost), true)]
    [InlineData("58000", "pool: checkout timeout", nameof(PoolerErrorKind.NoServerInTime), true)]
    [InlineData("58006", "pooler is shut down now", nameof(PoolerErrorKind.Disabled), true)]
    [InlineData("XX000", "password authentication failed for user 'app'", nameof(PoolerErrorKind.AuthenticationFailed), false)]
    [InlineData("XX000", "Too many connections to this endpoint. Please try again later.", nameof(PoolerErrorKind.Busy), true)]
    [InlineData("XX000", "unsupported startup parameter: statement_timeout. Please use unpooled connection", nameof(PoolerErrorKind.StartupParameterRefused), false)]
    [InlineData("08000", "Timed-out waiting to acquire database connection.", nameof(PoolerErrorKind.NoServerInTime), true)]
    [InlineData("ZZ999", "The maximum number of client connections to the proxy exceeded 1000.", nameof(PoolerErrorKind.Full), true)]
    [InlineData("28000", "The IAM authentication failed because of too many competing requests.", nameof(PoolerErrorKind.Busy), true)]
    [InlineData("0A000", "Feature not supported: RDS Proxy currently doesn\u2019t support the option statement_timeout.", nameof(PoolerErrorKind.StartupParameterRefused), false)]
    public void KindOf_WordsOfOtherPoolers_AreToldApart(string state, string text, string kind, bool isCurable)
    {
        var error = Error(state, text);

        Assert.Equal(kind, PoolerErrors.KindOf(error).ToString());
        Assert.Equal(isCurable, PoolerErrors.IsCurable(error));
        Assert.Contains(text, PoolerErrors.Explain(error)!.Message, StringComparison.Ordinal);
        Assert.Equal(kind == nameof(PoolerErrorKind.Full), SqlStates.IsServerFull(PoolerErrors.Explain(error)!));
    }

    [Theory]
    [InlineData("a*", "a", true)]
    [InlineData("a*", "", false)]
    [InlineData("*b*", "abc", true)]
    [InlineData("a*b*c", "a-b-c", true)]
    [InlineData("a*b*c", "a-c", false)]
    [InlineData("ab*b", "ab", false)]
    [InlineData("ab", "AB", true)]
    [InlineData("ab", "abc", false)]
    public void Fits_AStar_StandsForAnything(string pattern, string text, bool fits)
        => Assert.Equal(fits, new PoolerWord(PoolerErrorKind.Full, [], pattern).Fits("XX000", text));

    [Fact]
    public void KindOf_AnErrorThatIsNoAnswer_IsNoPoolers()
        => Assert.Null(PoolerErrors.IsCurable(new NpgsqlException("Failed to connect", new TimeoutException())));

    [Fact]
    public void Explain_SaysWhatThePoolerSaidAndWhatToDo_AndKeepsTheCause()
    {
        var said = Error("08P01", "no more connections allowed (max_client_conn)");

        var explained = PoolerErrors.Explain(said)!;

        Assert.Contains("no more connections allowed (max_client_conn)", explained.Message, StringComparison.Ordinal);
        Assert.Contains("Raise max_client_conn", explained.Message, StringComparison.Ordinal);
        Assert.Same(said, explained.InnerException);
        Assert.Equal(PoolerErrorKind.Full, PoolerErrors.KindOf(explained));
    }

    private static PostgresException Error(string state, string text) => new(text, "FATAL", "FATAL", state);
}
