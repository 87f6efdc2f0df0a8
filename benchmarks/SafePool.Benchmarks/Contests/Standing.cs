using System.Globalization;

namespace SafePool.Benchmarks.Contests;

/// <summary>How a contender has done over all rounds.</summary>
/// <param name="Name">Whose.</param>
/// <param name="Turns">What it did.</param>
/// <param name="Baseline">What the one it is compared with did.</param>
internal sealed record Standing(string Name, IReadOnlyList<Turn> Turns, IReadOnlyList<Turn> Baseline)
{
    private static readonly double[] _percentiles = [0.5, 0.9, 0.99, 0.999];

    public static string Header =>
        $"| contender | ns per operation | operations/s | ratio of time | 10 % / 90 % | bytes | least / most worker | processor s per million, client / server | p50 / p90 / p99 / p99.9 |{Environment.NewLine}|---|---:|---:|---:|---:|---:|---:|---:|---:|";

    public double Nanoseconds => Median(Turns.Select(turn => turn.Nanoseconds));

    public double Bytes => Median(Turns.Select(turn => turn.Bytes));

    public double Fairness => Median(Turns.Select(turn => turn.Fairness));

    /// <summary>The time of an operation, as a ratio to the baseline's. Rounds are compared with their neighbours, so that what slows both down cancels out.</summary>
    public double Ratio => Median(Ratios);

    public (double Low, double High) Spread => (Share(Ratios, 0.1), Share(Ratios, 0.9));

    private IEnumerable<double> Ratios => Turns.Zip(Baseline, (mine, theirs) => mine.Nanoseconds / theirs.Nanoseconds);

    public override string ToString() => string.Create(
        CultureInfo.InvariantCulture,
        $"| {Name} | {Nanoseconds:#,0.0} | {1e9 / Nanoseconds:#,0} | {Ratio:0.00} | {Spread.Low:0.00} / {Spread.High:0.00} | {Bytes:0} | {Fairness:0.00} | {Processor(turn => turn.ClientProcessor):0.0} / {Processor(turn => turn.ServerProcessor):0.0} | {Latencies()} |");

    /// <summary>Seconds per million operations, over all rounds: each is too short for the server's clock.</summary>
    private double Processor(Func<Turn, TimeSpan> of) => Turns.Sum(turn => of(turn).TotalSeconds) / Turns.Sum(turn => turn.Operations) * 1e6;

    private string Latencies()
    {
        if (Turns[0].Latencies.Count == 0)
        {
            return "";
        }

        return string.Join(" / ", _percentiles.Select(share =>
            string.Create(CultureInfo.InvariantCulture, $"{Median(Turns.Select(turn => turn.Latencies[(int)(turn.Latencies.Count * share)].TotalMicroseconds)):#,0}"))) + " µs";
    }

    private static double Median(IEnumerable<double> values) => Share(values, 0.5);

    private static double Share(IEnumerable<double> values, double share)
    {
        var sorted = values.Order().ToArray();
        return sorted[(int)(sorted.Length * share)];
    }
}
