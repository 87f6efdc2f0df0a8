using FsCheck;
using FsCheck.Fluent;
using Microsoft.FSharp.Core;
using Xunit;

namespace SafePool.Tests.Model;

/// <summary>Thousands of random histories; a failing one is shrunk to the shortest that still fails.</summary>
public sealed class PoolModelTests(ITestOutputHelper output)
{
    private const int Histories = 3000;

    [Fact]
    [Trait("Conformance", "3")]
    [Trait("Conformance", "20")]
    [Trait("Conformance", "25")]
    [Trait("Conformance", "95")]
    public void Pool_AnyHistory_BehavesAsTheModelSays()
    {
        var moves = Gen.Frequency(
            (6, Kind(MoveKind.Rent)),
            (3, Kind(MoveKind.RentBriefly)),
            (1, Kind(MoveKind.TryRent)),
            (4, Kind(MoveKind.Return)),
            (1, Kind(MoveKind.ReturnTwice)),
            (2, Kind(MoveKind.Cancel)),
            (5, Kind(MoveKind.OpenSucceeds)),
            (2, Kind(MoveKind.OpenFails)),
            (1, Kind(MoveKind.Break)),
            (1, Kind(MoveKind.CloseFails)),
            (1, Kind(MoveKind.LoseIdle)),
            (1, Kind(MoveKind.Clear)),
            (3, Kind(MoveKind.PassTime)),
            (1, Kind(MoveKind.Drain)));
        var seed = new Rnd((ulong)Random.Shared.NextInt64());
        output.WriteLine($"Seed {seed.Seed}, {seed.Gamma}: new Rnd(seed, gamma) repeats it.");

        var property = Prop.ForAll(Arb.From(Gen.ArrayOf(moves), Shorter), Play);

        Check.One(
            Config.QuickThrowOnFailure
                .WithMaxTest(Histories)
                .WithEndSize(120)
                .WithReplay(FSharpOption<Replay>.Some(new Replay(seed, FSharpOption<int>.None))),
            property);
    }

    private static Gen<Move> Kind(MoveKind kind) => Gen.Choose(0, 1000).Select(pick => new Move(kind, pick));

    private static IEnumerable<Move[]> Shorter(Move[] history)
    {
        for (var length = history.Length / 2; length > 0; length /= 2)
        {
            for (var start = 0; start + length <= history.Length; start += length)
            {
                yield return [.. history[..start], .. history[(start + length)..]];
            }
        }
    }

    private static void Play(Move[] history)
    {
        var model = new PoolModel();
        try
        {
            model.PlayAsync(history).GetAwaiter().GetResult();
        }
        finally
        {
            model.DisposeAsync().AsTask().GetAwaiter().GetResult();
        }
    }
}
