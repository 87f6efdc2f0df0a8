using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Kit;

public sealed class TestDatabaseTests
{
    [Fact]
    public async Task AcquireAsync_Twice_GivesTheSameServerAndSaysWhereFrom()
    {
        await using var first = await TestDatabase.AcquireAsync(TestContext.Current.CancellationToken);
        await first.DisposeAsync();
        await using var second = await TestDatabase.AcquireAsync(TestContext.Current.CancellationToken);

        await using var connection = new NpgsqlConnection($"{second.ConnectionString};Pooling=false");
        await connection.OpenAsync(TestContext.Current.CancellationToken);

        Assert.Equal(first.ConnectionString, second.ConnectionString);
        Assert.StartsWith($"PostgreSQL {connection.PostgreSqlVersion} from ", second.Origin, StringComparison.Ordinal);
    }
}
