using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Leases;

public sealed class LeaseTests
{
    [Fact]
    public async Task Default_EveryMember_IsThatOfAReturnedLease()
    {
        var lease = default(Lease);

        lease.Dispose();
        await lease.DisposeAsync();
        lease.Cancel();

        Assert.Equal(0, lease.Id);
        AssertReturned(lease);
    }

    [Fact]
    [Trait("Conformance", "35")]
    public async Task AnyMember_AfterTheReturn_ThrowsAndCannotReachTheNextHolder()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        var stale = leases[0];
        await stale.DisposeAsync();
        using var next = await scripted.BeginRent();

        stale.Cancel();

        AssertReturned(stale);
        Assert.NotEqual(stale.Id, next.Id);
        Assert.Equal(0, scripted.Source.Cancels);
    }

    [Fact]
    public async Task Equals_CopiesAndOtherLeases_TellsThemApart()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(2);
        await using var disposal = scripted;
        var copy = leases[0];

        Assert.True(copy == leases[0] && copy.Equals((object)leases[0]));
        Assert.Equal(copy.GetHashCode(), leases[0].GetHashCode());
        Assert.True(leases[0] != leases[1]);
        Assert.False(leases[0].Equals("lease"));
        Assert.True(default(Lease) == default);
        copy.Dispose();
        using var next = await scripted.BeginRent();
        Assert.NotEqual(copy, next);
    }

    [Fact]
    public async Task Id_ManyLeasesOnFewPlaces_IsUnique()
    {
        await using var scripted = ScriptedPool.Create();
        var ids = new HashSet<long>();

        for (var i = 0; i < 100; i++)
        {
            foreach (var lease in await scripted.RentManyAsync(3))
            {
                Assert.True(ids.Add(lease.Id));
                await lease.DisposeAsync();
            }
        }

        Assert.DoesNotContain(0, ids);
    }

    [Fact]
    [Trait("Conformance", "35")]
    public async Task Connection_TornCopy_MatchesNoLease()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(2);
        await using var disposal = scripted;
        var torn = new Lease(leases[0].Handle!, leases[1].Id);

        torn.Dispose();
        await torn.DisposeAsync();

        AssertReturned(torn);
        Assert.Equal(2, scripted.Snapshot.Leased);
    }

    [Fact]
    public async Task Connection_WhileItIsOut_IsTheSameObjectAndANewOneForTheNextLease()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;
        var connection = leases[0].Connection;
        Assert.Same(connection, leases[0].Connection);

        leases[0].Dispose();
        using var next = await scripted.BeginRent();

        Assert.NotSame(connection, next.Connection);
        Assert.Equal(1, scripted.Source.NumberOf(next.Connection));
    }

    [Fact]
    [Trait("Conformance", "31")]
    public async Task Using_TheBodyThrows_ReturnsTheConnection()
    {
        await using var scripted = ScriptedPool.Create();

        await Assert.ThrowsAsync<InvalidTimeZoneException>(async () =>
        {
            using var lease = await scripted.BeginRent();
            throw new InvalidTimeZoneException("body");
        });

        Assert.Equal((0, 1), (scripted.Snapshot.Leased, scripted.Snapshot.Idle));
    }

    [Fact]
    public async Task CreateCommand_WithText_BelongsToTheLeasesConnection()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1);
        await using var disposal = scripted;

        using var command = leases[0].CreateCommand("SELECT 1");
        using var batch = leases[0].CreateBatch();

        Assert.Equal("SELECT 1", command.CommandText);
        Assert.Same(leases[0].Connection, command.Connection);
        Assert.Same(leases[0].Connection, batch.Connection);
    }

    private static void AssertReturned(Lease lease)
    {
        Assert.Throws<ObjectDisposedException>(() => lease.Connection);
        Assert.Throws<ObjectDisposedException>(() => lease.CreateCommand());
        Assert.Throws<ObjectDisposedException>(() => lease.CreateBatch());
        Assert.Throws<ObjectDisposedException>(() => lease.BeginTransaction());
    }
}
