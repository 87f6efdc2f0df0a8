using Npgsql;
using SafePool.Connections;
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
