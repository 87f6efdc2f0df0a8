using SafePool.Driver;
using SafePool.Driver.Hosts;
using Xunit;

namespace SafePool.Tests.Failover;

/// <summary>Hosts are asked one after the other, while connections come and go at each: who has a place finds the one that lies under it.</summary>
public sealed class HostTakesTests
{
    private const string Hosts = "Host=first.invalid,second.invalid;Username=app;Password=secret";

    [Theory]
    [InlineData("")]
    [InlineData(";Load Balance Hosts=true")]
    public async Task TryTake_OneComesToRestWhereWasAskedAlreadyAndTheOtherGoes_FindsIt(string keywords)
    {
        await using var pool = ConnectionPool.Create(Hosts + keywords, _ => { });
        var source = (NpgsqlConnectionSource)pool.Parts.Source;
        var asked = new List<string>();
        var isAtFirstAsked = false;

        var taken = HostTakes.TryTake(source.Hosts, connection =>
        {
            asked.Add(connection.DataSource);
            if (asked.Count == 2)
            {
                // Somebody returns one at the host that was asked before, and whoever has that place is given the one that was here.
                using var other = source.Hosts.All.Single(host => host.Address == asked[0]).Current.CreateConnection();
                source.NoteRested(other);
                isAtFirstAsked = true;
            }

            return isAtFirstAsked && connection.DataSource == asked[0] ? connection : null;
        });

        Assert.NotNull(taken);
        Assert.Equal([asked[0], asked[1], asked[0]], asked);
        Assert.NotEqual(asked[0], asked[1]);
    }

    [Fact]
    public async Task TryTake_AnotherPlaceIsHandedOnMeanwhile_AsksOnceMore()
    {
        await using var pool = ConnectionPool.Create(Hosts, _ => { });
        var source = (NpgsqlConnectionSource)pool.Parts.Source;
        var asked = 0;

        var taken = HostTakes.TryTake(source.Hosts, _ =>
        {
            if (++asked == 2)
            {
                source.NoteHandedOn();
            }

            return null;
        });

        Assert.Null(taken);
        Assert.Equal(4, asked);
    }

    [Fact]
    public async Task TryTake_NothingComesToRest_AsksEachOnce()
    {
        await using var pool = ConnectionPool.Create(Hosts, _ => { });
        var asked = new List<string>();

        Assert.Null(HostTakes.TryTake(((NpgsqlConnectionSource)pool.Parts.Source).Hosts, connection =>
        {
            asked.Add(connection.DataSource);
            return null;
        }));

        Assert.Equal(2, asked.Distinct().Count());
        Assert.Equal(2, asked.Count);
    }
}
