using BenchmarkDotNet.Running;
using SafePool.Benchmarks;
using SafePool.Benchmarks.Contests;

switch (args)
{
    case ["alternate"]:
        await Alternating.RunAsync();
        return 0;
    case ["contest", .. var names]:
        return await Summary.RunAsync(names);
    default:
        BenchmarkSwitcher.FromAssembly(typeof(Program).Assembly).Run(args);
        return 0;
}
