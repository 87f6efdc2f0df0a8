using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.DriverContract;

/// <summary>That a run says of itself what it is: the driver and the server that were asked for are those that are tested. .ci/run and .ci/nightly begin with these.</summary>
public sealed class MatrixTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>SAFEPOOL_NPGSQL_VERSION: what a build with <c>-p:NpgsqlVersion=…</c> was meant to have. Otherwise a matrix would test the same driver twice.</summary>
    [Fact]
    public void Driver_ThatWasAskedFor_IsTheOneThatIsLoaded()
    {
        var loaded = typeof(NpgsqlConnection).Assembly.GetName().Version!.ToString(3);
        var asked = Environment.GetEnvironmentVariable("SAFEPOOL_NPGSQL_VERSION") is { Length: > 0 } version ? version : loaded;

        Assert.Equal(asked, loaded);
    }

    /// <summary>SAFEPOOL_PG_VERSION: fetched, started, and of that version. The message of a failure says what could not be fetched.</summary>
    [Fact]
    public async Task Server_ThatWasAskedFor_IsTheOneThatAnswers()
    {
        await using var database = await TestDatabase.AcquireAsync(Cancellation);
        await using var connection = new NpgsqlConnection(database.ConnectionString);
        await connection.OpenAsync(Cancellation);
        var asked = Environment.GetEnvironmentVariable("SAFEPOOL_PG_VERSION") is { Length: > 0 } major
            ? major
            : connection.PostgreSqlVersion.Major.ToString(System.Globalization.CultureInfo.InvariantCulture);

        Assert.Equal(asked, connection.PostgreSqlVersion.Major.ToString(System.Globalization.CultureInfo.InvariantCulture));
    }
}
